import { z } from 'zod';
import { blake3 } from '../../crdt/digest.ts';
import { type ClusterId, err, type NodeId, ok, type Result } from '../../crdt/ids.ts';
import { membershipDigestBytes } from '../../crdt/membership-set.ts';
import { isNodeId } from '../../crdt/node-name.ts';
import { type Signer, signatureBytes, verifySignature } from '../../crdt/signature.ts';
import { decodeMessage, encodeCbor } from '../wire/cbor.ts';
import { byteString } from '../wire/schemas.ts';
import { heartbeatBytesMax } from './limits.ts';

/** A timer is hardly ever this late. */
const loadMsMax = 3_600_000;

const count = z.int().min(0).max(Number.MAX_SAFE_INTEGER);
const sequence = z.int().min(1).max(Number.MAX_SAFE_INTEGER);

const beat = z.strictObject({
  nodeId: z.string().refine(isNodeId, 'not a node id'),
  /** Sequence of the descriptor it stands by: raised at every process start, so that an old life's beats are seen to be old. */
  descriptor: sequence,
  /** Counts the beats of this descriptor's time. */
  sequence,
  capacityBytes: count,
  freeBytes: count,
  /** `draining` while its content moves elsewhere; `stopping` is a node's last word before it ends. */
  status: z.enum(['ready', 'draining', 'stopping']),
  /** How late, at worst, a timer of it was since the beat before, in milliseconds: how busy it is. */
  load: z.int().min(0).max(loadMsMax),
  /** Of the descriptors it holds, see `membershipDigest`. */
  members: byteString.refine((bytes) => bytes.length === membershipDigestBytes, 'not a digest of a membership'),
});

const message = z.strictObject({
  v: z.literal(1),
  /** CBOR of the beat: what is signed is BLAKE3 of these bytes. */
  beat: byteString,
  sig: byteString.refine((bytes) => bytes.length === signatureBytes, 'not a signature'),
});

/** What a node says every few seconds. */
export type Heartbeat = Omit<z.infer<typeof beat>, 'nodeId'> & { readonly nodeId: NodeId };

/** A heartbeat as it came, not verified yet. */
export interface SignedHeartbeat {
  readonly heartbeat: Heartbeat;
  readonly signed: Uint8Array;
  readonly signature: Uint8Array;
}

/** The topic of heartbeats. */
export function heartbeatTopic(cluster: ClusterId): string {
  return `anabranch/${cluster}/heartbeat`;
}

/** A heartbeat as CBOR, signed under `anabranch/heartbeat/1/<cluster>`. `load` is cut off at an hour. */
export function encodeHeartbeat(heartbeat: Heartbeat, signer: Signer, cluster: ClusterId): Uint8Array {
  const bytes = encodeCbor({ ...heartbeat, load: Math.min(loadMsMax, heartbeat.load) });
  return encodeCbor({ v: 1, beat: bytes, sig: signer.sign(heartbeatDomain(cluster), blake3(bytes)) });
}

/** Reads a heartbeat, or says why it is none. Never throws. */
export function decodeHeartbeat(bytes: Uint8Array): Result<SignedHeartbeat, string> {
  if (bytes.length > heartbeatBytesMax) return err(`a heartbeat of ${bytes.length} bytes`);
  const outer = decodeMessage(message, bytes);
  if (!outer.ok) return outer;
  const inner = decodeMessage(beat, outer.value.beat);
  if (!inner.ok) return inner;
  return ok({ heartbeat: inner.value as Heartbeat, signed: outer.value.beat, signature: outer.value.sig });
}

/** True when the heartbeat is signed by `publicKey`, for this cluster. Never throws. */
export function verifyHeartbeat(
  { signed, signature }: SignedHeartbeat,
  cluster: ClusterId,
  publicKey: Uint8Array,
): boolean {
  return verifySignature(publicKey, heartbeatDomain(cluster), blake3(signed), signature);
}

function heartbeatDomain(cluster: ClusterId): string {
  return `anabranch/heartbeat/1/${cluster}`;
}
