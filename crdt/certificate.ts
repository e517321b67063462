import { decodeCanonical, encodeCanonical, hasExactly } from './canonical-json.ts';
import { blake3, fromBase32, isHash, toBase32 } from './digest.ts';
import { type ClusterId, err, type NodeId, ok, type Result } from './ids.ts';
import { isNodeId } from './node-name.ts';
import { type Ballot, isBallot } from './quorum/ballot.ts';
import {
  fromBase64Url,
  type SignedDigest,
  type Signer,
  signatureBytes,
  toBase64Url,
  verifySignature,
} from './signature.ts';
import { type BatchPlace, batchPathMax, batchSizeMax, digestOfPlace, VoteBatch } from './vote-batch.ts';

/** The register whose values are the entries of the control log; every other one is named by an object's document id. */
export const controlLogRegister = 'control-log';
/** Coordinators are seven at the most; one more stands beside them while one is replaced, and a later version may allow more. */
const signaturesMax = 16;
/** A statement takes up to 500 bytes, each signature 118 and the place in a batch 540. */
export const certificateBytesMax = 4_096;

/** What a register holds: one link of a chain. */
export interface RegisterValue {
  /** Counts the values of the register, from 1. */
  readonly position: number;
  /** A version id, or the hash of a control-log entry: 52 characters of base32. */
  readonly head: string;
  /** The link hash of the value before this one; null at position 1 and nowhere else. */
  readonly previous: string | null;
}

/** What a coordinator signs when it accepts a value. */
export interface Statement extends RegisterValue {
  readonly v: 1;
  /** A document id, or `control-log`. */
  readonly register: string;
  /** The configuration epoch whose coordinators vote, from 1. */
  readonly epoch: number;
  readonly ballot: Ballot;
}

/** Proof that a value was chosen: a majority of the epoch's coordinators accepted it in one and the same ballot. */
export interface Certificate {
  readonly statement: Statement;
  /** Node ids and their signatures in base64url, in the order of the node ids. */
  readonly signatures: readonly (readonly [NodeId, string])[];
  /** Where the statement stands among those that the same signatures are under; absent when they are under it alone. */
  readonly batch?: {
    readonly index: number;
    readonly size: number;
    /** Hashes in base32. */
    readonly path: readonly string[];
  };
}

/** What a coordinator answers when it accepts a value. */
export interface Vote {
  /** 64 bytes, under the statement itself or under the batch it stands in. */
  readonly signature: Uint8Array;
  readonly batch: BatchPlace | null;
}

/** A coordinator as a certificate's reader knows it. */
export interface CertificateSigner {
  readonly nodeId: NodeId;
  /** 32 bytes of ed25519. */
  readonly publicKey: Uint8Array;
}

/** How many of so many coordinators are a majority. */
export function majorityOf(coordinators: number): number {
  return Math.floor(coordinators / 2) + 1;
}

/** True for `control-log` and for exactly the texts that can be a document id. */
export function isRegisterName(text: string): boolean {
  return text === controlLogRegister || isHash(text);
}

/** True when both are the same link of the same chain. */
export function isSameValue(a: RegisterValue, b: RegisterValue): boolean {
  return a.position === b.position && a.head === b.head && a.previous === b.previous;
}

/**
 * What the next value names as `previous`: BLAKE3, in base32, of the value's canonical JSON with its cluster and
 * register. It leaves ballot, epoch and signatures out, so a value that is proposed again keeps its link.
 */
export function linkHash(cluster: ClusterId, register: string, value: RegisterValue): string {
  const { position, head, previous } = value;
  const text = encodeCanonical({ cluster, head, position, previous, register, v: 1 });
  return toBase32(blake3(Buffer.from(text, 'utf8')));
}

/** The 64-byte signature of a coordinator under one statement, for this cluster alone. */
export function signStatement(statement: Statement, signer: Signer, cluster: ClusterId): Uint8Array {
  return signer.sign(confirmationDomain(cluster), statementDigest(statement));
}

/** The batch of 2 to 512 statements in order. */
export function batchOf(statements: readonly Statement[]): VoteBatch {
  return new VoteBatch(statements.map(statementDigest));
}

/** The 64-byte signature of a coordinator under all statements of a batch at once, for this cluster alone. */
export function signBatch(batch: VoteBatch, signer: Signer, cluster: ClusterId): Uint8Array {
  return signer.sign(batchDomain(cluster), batch.digest);
}

/** True when the signature is the key's under this very batch. Never throws. */
export function verifyBatch(
  batch: VoteBatch,
  signature: Uint8Array,
  publicKey: Uint8Array,
  cluster: ClusterId,
): boolean {
  return verifySignature(publicKey, batchDomain(cluster), batch.digest, signature);
}

/** True when the signature is the key's under this very statement, ballot and epoch included. Never throws. */
export function verifyStatement(
  statement: Statement,
  signature: Uint8Array,
  publicKey: Uint8Array,
  cluster: ClusterId,
): boolean {
  return verifySignature(publicKey, confirmationDomain(cluster), statementDigest(statement), signature);
}

/** A certificate of signatures that were gathered under one statement, or one batch of them, in any order. */
export function assembleCertificate(
  statement: Statement,
  signatures: Iterable<readonly [NodeId, Uint8Array]>,
  place: BatchPlace | null = null,
): Certificate {
  const sorted = [...signatures].sort(([a], [b]) => (a < b ? -1 : 1));
  const texts = sorted.map(([nodeId, signature]) => [nodeId, toBase64Url(signature)] as const);
  if (place === null) return { statement, signatures: texts };
  const { index, size, path } = place;
  return { statement, signatures: texts, batch: { index, size, path: path.map(toBase32) } };
}

/**
 * True when at least a majority of the coordinators signed the statement, and nobody else is named as a signer: a
 * signature that does not hold, a signer twice or out of order, or one who is no coordinator spoils the whole, so
 * that no byte of a certificate can be changed. Never throws.
 *
 * @param context `coordinators` are those of the statement's epoch, each once
 */
export function verifyCertificate(
  certificate: Certificate,
  context: { readonly cluster: ClusterId; readonly coordinators: readonly CertificateSigner[] },
): boolean {
  const signed = signedDigestsOf(certificate, context);
  return signed?.every((each) => verifySignature(each.publicKey, each.domain, each.digest, each.signature)) ?? false;
}

/**
 * The signatures that `verifyCertificate` verifies, for who does it elsewhere: the certificate holds when every one of
 * them does. Undefined when it cannot hold. Never throws.
 */
export function signedDigestsOf(
  { statement, signatures, batch }: Certificate,
  { cluster, coordinators }: { readonly cluster: ClusterId; readonly coordinators: readonly CertificateSigner[] },
): SignedDigest[] | undefined {
  if (signatures.length < majorityOf(coordinators.length)) return undefined;
  const own = signedOf(statement, batch === undefined ? null : placeOf(batch), cluster);
  if (own === undefined) return undefined;
  const signed: SignedDigest[] = [];
  let before = '';
  for (const [nodeId, text] of signatures) {
    if (nodeId <= before) return undefined;
    before = nodeId;
    const coordinator = coordinators.find((each) => each.nodeId === nodeId);
    const signature = fromBase64Url(text);
    if (coordinator === undefined || signature === undefined) return undefined;
    signed.push({ publicKey: coordinator.publicKey, ...own, signature });
  }
  return signed;
}

/** The canonical JSON text of a certificate. Throws a TypeError for one that `decodeCertificate` would refuse. */
export function encodeCertificate(certificate: Certificate): string {
  const fault = checkCertificate(certificate);
  if (fault !== undefined) throw new TypeError(fault);
  return encodeCanonical(certificate);
}

/**
 * Reads a certificate's text: canonical JSON of exactly its fields, within their bounds. Whether the signatures hold
 * is for `verifyCertificate`.
 *
 * @returns the certificate, or a sentence saying what is wrong; never throws
 */
export function decodeCertificate(text: string): Result<Certificate, string> {
  const decoded = decodeCanonical(text, certificateBytesMax);
  if (!decoded.ok) return decoded;
  const fault = checkCertificate(decoded.value);
  return fault === undefined ? ok(decoded.value as Certificate) : err(fault);
}

function checkCertificate(value: unknown): string | undefined {
  if (hasExactly(value, ['batch', 'signatures', 'statement'])) {
    return checkStatement(value.statement) ?? checkSignatures(value.signatures) ?? checkBatch(value.batch);
  }
  if (!hasExactly(value, ['signatures', 'statement'])) {
    return 'a certificate has exactly the fields signatures and statement, and batch or not';
  }
  return checkStatement(value.statement) ?? checkSignatures(value.signatures);
}

function checkBatch(value: unknown): string | undefined {
  if (!hasExactly(value, ['index', 'path', 'size'])) return 'a batch has exactly the fields index, path and size';
  const { index, path, size } = value;
  if (!Number.isSafeInteger(size) || (size as number) < 2 || (size as number) > batchSizeMax) {
    return `a batch has 2 to ${batchSizeMax} statements`;
  }
  if (!Number.isSafeInteger(index) || (index as number) < 0 || (index as number) >= (size as number)) {
    return 'the index is not within the batch';
  }
  if (!Array.isArray(path) || path.length === 0 || path.length > batchPathMax) {
    return `a path has 1 to ${batchPathMax} hashes`;
  }
  return path.every((hash) => typeof hash === 'string' && isHash(hash)) ? undefined : 'the path is not of hashes';
}

function checkStatement(value: unknown): string | undefined {
  if (!hasExactly(value, ['ballot', 'epoch', 'head', 'position', 'previous', 'register', 'v'])) {
    return 'a statement has exactly the fields ballot, epoch, head, position, previous, register and v';
  }
  const { v, register, epoch, position, head, previous, ballot } = value;
  if (v !== 1) return 'this is not version 1 of the statement format';
  if (typeof register !== 'string' || !isRegisterName(register)) return 'the register has no name of a register';
  if (!isNumberFromOne(epoch)) return 'the epoch is not a whole number from 1';
  if (!isNumberFromOne(position)) return 'the position is not a whole number from 1';
  if (typeof head !== 'string' || !isHash(head)) return 'the head is not a hash';
  if (position === 1 ? previous !== null : typeof previous !== 'string' || !isHash(previous)) {
    return 'previous is not null at position 1 and a hash after it';
  }
  return isBallot(ballot) ? undefined : 'the ballot is not a counter and a proposer';
}

function checkSignatures(value: unknown): string | undefined {
  if (!Array.isArray(value) || value.length === 0 || value.length > signaturesMax) {
    return `a certificate has 1 to ${signaturesMax} signatures`;
  }
  let before = '';
  for (const pair of value as unknown[]) {
    if (!Array.isArray(pair) || pair.length !== 2) return 'a signature is a node id and a text';
    const [nodeId, text] = pair as unknown[];
    if (typeof nodeId !== 'string' || !isNodeId(nodeId)) return 'a signer is not a node id';
    if (nodeId <= before) return 'the signers are not in order, each once';
    before = nodeId;
    if (typeof text !== 'string' || fromBase64Url(text)?.length !== signatureBytes) {
      return `a signature is not ${signatureBytes} bytes in base64url`;
    }
  }
  return undefined;
}

function isNumberFromOne(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 1;
}

function confirmationDomain(cluster: ClusterId): string {
  return `anabranch/confirmation/1/${cluster}`;
}

function batchDomain(cluster: ClusterId): string {
  return `anabranch/confirmation-batch/1/${cluster}`;
}

/** What a signature is under, for a statement that stands alone or in a batch; undefined for a place no batch has. */
function signedOf(
  statement: Statement,
  place: BatchPlace | null,
  cluster: ClusterId,
): { readonly domain: string; readonly digest: Uint8Array } | undefined {
  const own = statementDigest(statement);
  if (place === null) return { domain: confirmationDomain(cluster), digest: own };
  const digest = digestOfPlace(own, place);
  return digest && { domain: batchDomain(cluster), digest };
}

function placeOf({ index, size, path }: NonNullable<Certificate['batch']>): BatchPlace {
  return { index, size, path: path.map((hash) => fromBase32(hash) ?? new Uint8Array()) };
}

function statementDigest({ v, register, epoch, position, head, previous, ballot }: Statement): Uint8Array {
  const text = encodeCanonical({ ballot, epoch, head, position, previous, register, v });
  return blake3(Buffer.from(text, 'utf8'));
}
