import { decodeCanonical, encodeCanonical, hasExactly } from './canonical-json.ts';
import { checkAddresses, checkLabels, type Labels } from './control/member.ts';
import { blake3 } from './digest.ts';
import { type ClusterId, err, type NodeId, ok, type Result } from './ids.ts';
import { isNodeId } from './node-name.ts';
import {
  fromBase64Url,
  type SignedDigest,
  type Signer,
  signatureBytes,
  toBase64Url,
  verifySignature,
} from './signature.ts';

/** The longest text of a descriptor, in bytes of UTF-8: room for every address and label at an ordinary length. */
const descriptorBytesMax = 8_192;
const urlLengthMax = 512;
const programLengthMax = 64;

const urlPattern = /^https?:\/\/[!-~]+$/;
/** Visible ASCII, since it stands in tables and logs. */
const programPattern = /^[!-~]+$/;

/** What a node says of itself. */
export interface DescriptorFields {
  readonly nodeId: NodeId;
  /** From 1; of two descriptors of one node the one with the greater number holds. Raised at every process start. */
  readonly sequence: number;
  /** Multiaddrs at which it can be dialled now; at most 16. */
  readonly addresses: readonly string[];
  /** Where its API can be reached from elsewhere, or null. */
  readonly url: string | null;
  /** What it says about where and what it is. For people only: placement trusts the labels in the control log. */
  readonly labels: Labels;
  /** Bytes it can hold in all. */
  readonly capacityBytes: number;
  /** Of its program: 1 to 64 visible characters. */
  readonly version: string;
  /** When it said so, in milliseconds since the epoch, for display. */
  readonly time: number;
}

/** A node's signed self-description. */
export interface Descriptor extends DescriptorFields {
  readonly v: 1;
  /** 64 bytes of ed25519 in base64url, see `signDescriptor`. */
  readonly sig: string;
}

/** A descriptor, and the text by which it is stored, sent and compared. */
export interface SignedDescriptor {
  readonly descriptor: Descriptor;
  /** Canonical JSON, at most `descriptorBytesMax` bytes. */
  readonly text: string;
}

const fields = ['addresses', 'capacityBytes', 'labels', 'nodeId', 'sequence', 'sig', 'time', 'url', 'v', 'version'];

/**
 * Signs what a node says of itself: over BLAKE3 of the canonical JSON without `sig`, under
 * `anabranch/descriptor/1/<cluster>`. Throws a TypeError for what `decodeDescriptor` would refuse.
 */
export function signDescriptor(said: DescriptorFields, signer: Signer, cluster: ClusterId): SignedDescriptor {
  const { nodeId, sequence, addresses, url, labels, capacityBytes, version, time } = said;
  const unsigned = { v: 1 as const, nodeId, sequence, addresses, url, labels, capacityBytes, version, time };
  const sig = toBase64Url(signer.sign(descriptorDomain(cluster), digestOf(unsigned)));
  const signed = decodeDescriptor(encodeCanonical({ ...unsigned, sig }));
  if (!signed.ok) throw new TypeError(signed.error);
  return signed.value;
}

/**
 * Reads a descriptor: size, canonical form, exact fields and their bounds. Whether it is signed by its node is for
 * `verifyDescriptor` to say. Never throws.
 */
export function decodeDescriptor(text: string): Result<SignedDescriptor, string> {
  const decoded = decodeCanonical(text, descriptorBytesMax);
  if (!decoded.ok) return decoded;
  const fault = checkDescriptor(decoded.value);
  return fault === undefined ? ok({ descriptor: decoded.value as Descriptor, text }) : err(fault);
}

/** True when the descriptor's signature is by `publicKey`, for this cluster. Never throws. */
export function verifyDescriptor(signed: SignedDescriptor, cluster: ClusterId, publicKey: Uint8Array): boolean {
  const { domain, digest, signature } = signedDescriptorDigest(signed, cluster, publicKey);
  return verifySignature(publicKey, domain, digest, signature);
}

/** What `verifyDescriptor` verifies, for who does it elsewhere. */
export function signedDescriptorDigest(
  { descriptor }: SignedDescriptor,
  cluster: ClusterId,
  publicKey: Uint8Array,
): SignedDigest {
  const { sig, ...unsigned } = descriptor;
  const signature = fromBase64Url(sig) ?? new Uint8Array(0);
  return { publicKey, domain: descriptorDomain(cluster), digest: digestOf(unsigned), signature };
}

/**
 * True when the first of two descriptors of one node holds and not the second: by the greater sequence, and where a
 * node has used one twice (its disk was put back or copied), by the greater text. A total order, so that every node
 * keeps the same one.
 */
export function isNewerDescriptor(a: SignedDescriptor, b: SignedDescriptor): boolean {
  const difference = a.descriptor.sequence - b.descriptor.sequence;
  return difference > 0 || (difference === 0 && a.text > b.text);
}

function checkDescriptor(value: unknown): string | undefined {
  if (!hasExactly(value, fields)) return `a descriptor has exactly the fields ${fields.join(', ')}`;
  const { v, nodeId, sequence, addresses, url, labels, capacityBytes, version, time, sig } = value;
  if (v !== 1) return 'this is not version 1 of the descriptor format';
  if (typeof nodeId !== 'string' || !isNodeId(nodeId)) return 'the node id is not 26 characters of base32';
  if (!isSequence(sequence)) return 'the sequence is not a whole number from 1';
  if (url !== null && (typeof url !== 'string' || url.length > urlLengthMax || !urlPattern.test(url))) {
    return `the url is neither null nor at most ${urlLengthMax} characters of http or https`;
  }
  if (!isCount(capacityBytes)) return 'the capacity is not a whole number of bytes';
  if (typeof version !== 'string' || version.length > programLengthMax || !programPattern.test(version)) {
    return `the version is not 1 to ${programLengthMax} visible characters`;
  }
  if (!isCount(time)) return 'the time is not a whole number of milliseconds';
  if (typeof sig !== 'string' || fromBase64Url(sig)?.length !== signatureBytes) return 'the signature is malformed';
  return checkAddresses(addresses) ?? checkLabels(labels);
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** True for a number that a descriptor can have as its sequence. */
export function isSequence(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 1;
}

function descriptorDomain(cluster: ClusterId): string {
  return `anabranch/descriptor/1/${cluster}`;
}

function digestOf(unsigned: object): Uint8Array {
  return blake3(Buffer.from(encodeCanonical(unsigned), 'utf8'));
}
