import assert from 'node:assert/strict';
import { decodeCanonical, encodeCanonical } from './canonical-json.ts';
import {
  contextAdd,
  contextEquals,
  contextHas,
  contextMax,
  contextUnion,
  type DotContext,
  decodeContext,
  emptyContext,
  encodeContext,
} from './causality.ts';
import { blake3, toBase32 } from './digest.ts';
import { type ClusterId, type Dot, err, type NodeId, ok, type Result, type VersionId } from './ids.ts';
import { fromBase64Url, type SignedDigest, type Signer, toBase64Url, verifySignature } from './signature.ts';
import { decodeUtf8 } from './utf8.ts';
import {
  type Content,
  checkRecord,
  type LogPosition,
  recordBytesMax,
  type UnsignedRecord,
  type VersionRecord,
} from './version-record.ts';

export { type Content, checkLabels, metaBytesMax } from './version-record.ts';

/** A version: its record, the text that was signed and is stored and sent, and what is derived from them. */
export interface Version {
  /** BLAKE3 of the text. */
  readonly id: VersionId;
  readonly record: VersionRecord;
  /** The canonical JSON of the record, signature included. */
  readonly text: string;
  /** `record.context`, decoded. */
  readonly context: DotContext;
}

/** Why a record is refused. None of these can become valid later. */
export type VersionFaultCode =
  | 'malformed'
  | 'too_large'
  | 'context_too_large'
  | 'bad_signature'
  | 'not_permitted'
  | 'foreign_parent'
  | 'wrong_generation'
  | 'wrong_context'
  | 'not_an_antichain'
  | 'reused_dot';

export interface VersionFault {
  readonly code: VersionFaultCode;
  /** A sentence for the log, or for the person who wrote. */
  readonly message: string;
}

/** What the writer of a version decides; the rest follows from the parents. */
export interface VersionFields {
  readonly ns: string;
  readonly key: string;
  /** A `put` with two or more parents becomes a `merge`. */
  readonly kind: 'put' | 'delete' | 'merge';
  readonly dot: Dot;
  readonly content: Content | null;
  /** Ignored for a `delete`, whose type is empty. */
  readonly type: string;
  readonly meta: Readonly<Record<string, string>>;
  readonly author: string;
  readonly node: NodeId;
  readonly time: number;
  readonly log: LogPosition;
}

/** A record that lacks only its signature. */
export interface VersionDraft {
  readonly record: UnsignedRecord;
  /** Canonical JSON of the record; its BLAKE3 is what is signed. */
  readonly text: string;
  readonly context: DotContext;
}

/**
 * Tells from the graph whether one version is an ancestor of another. Both are ancestors of what is being
 * checked, so every node that holds its parents answers alike.
 */
export type AncestryLookup = (ancestor: VersionId, descendant: VersionId) => boolean;

/** Length of `"sig":"…",` in a record's text. */
const signatureFieldLength = '"sig":"",'.length + 86;

const fault = (code: VersionFaultCode, message: string): VersionFault => ({ code, message });

/**
 * Drafts the version that extends exactly `parents` (in any order; none for a first write) and computes what
 * follows from them. Refuses what `checkAgainstParents` would refuse, fields out of bounds (`malformed`), and a
 * context that does not fit into a record (`context_too_large`).
 *
 * @param isAncestor see `checkAgainstParents`
 */
export function draftVersion(
  parents: readonly Version[],
  fields: VersionFields,
  isAncestor?: AncestryLookup,
): Result<VersionDraft, VersionFault> {
  const sorted = [...parents].sort((a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0));
  const context = contextOfChild(sorted);
  const record: UnsignedRecord = {
    v: 1,
    ns: fields.ns,
    key: fields.key,
    kind: fields.kind === 'put' && sorted.length > 1 ? 'merge' : fields.kind,
    parents: sorted.map((parent) => parent.id),
    dot: fields.dot,
    context: encodeContext(context),
    generation: generationOfChild(sorted),
    content: fields.content,
    type: fields.kind === 'delete' ? '' : fields.type,
    meta: fields.meta,
    author: fields.author,
    node: fields.node,
    time: fields.time,
    log: fields.log,
  };
  const shape = checkRecord(record, 'unsigned');
  if (!shape.ok) return err(fault('malformed', shape.error));
  const conflict = checkParents(record, sorted, isAncestor) ?? checkDot(record.dot, context);
  if (conflict !== undefined) return err(conflict);
  const text = encodeCanonical(record);
  if (Buffer.byteLength(text, 'utf8') + signatureFieldLength > recordBytesMax) {
    return err(fault('context_too_large', `with its context the record is longer than ${recordBytesMax} bytes`));
  }
  return ok({ record, text, context });
}

/** Signs a draft with the writing node's key. */
export function signVersion(draft: VersionDraft, signer: Signer, cluster: ClusterId): Version {
  const sig = toBase64Url(signer.sign(versionDomain(cluster), digestOf(draft.text)));
  // `sig` sorts right before `time`. What follows is a number and text, where a quote is escaped, so this is the last.
  const at = draft.text.lastIndexOf('"time":');
  const text = `${draft.text.slice(0, at)}"sig":"${sig}",${draft.text.slice(at)}`;
  return { id: idOf(Buffer.from(text, 'utf8')), record: { ...draft.record, sig }, text, context: draft.context };
}

/**
 * The first half of a record's first check: size, strict UTF-8, canonical JSON, exact fields and their bounds.
 * Never throws.
 *
 * @param input the text, or its bytes
 */
export function decodeVersion(input: string | Uint8Array): Result<Version, VersionFault> {
  if (input.length > recordBytesMax) return err(tooLarge);
  const text = typeof input === 'string' ? input : decodeUtf8(input);
  if (text === undefined) return err(fault('malformed', 'the record is not valid UTF-8'));
  const bytes = typeof input === 'string' ? Buffer.from(input, 'utf8') : input;
  if (bytes.length > recordBytesMax) return err(tooLarge);
  const decoded = decodeCanonical(text, recordBytesMax);
  if (!decoded.ok) return err(fault('malformed', decoded.error));
  const context = checkRecord(decoded.value, 'signed');
  if (!context.ok) return err(fault('malformed', context.error));
  return ok({ id: idOf(bytes), record: decoded.value as VersionRecord, text, context: context.value });
}

/**
 * Reads back a version that was checked when it was first stored: bytes that hash to its id are the very text that was
 * checked then, so only the hash is looked at. Undefined when they are other bytes.
 */
export function recallVersion(id: VersionId, bytes: Uint8Array): Version | undefined {
  if (idOf(bytes) !== id) return undefined;
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');
  const record = JSON.parse(text) as VersionRecord;
  const context = decodeContext(record.context);
  assert(context.ok, `version ${id} was stored without having been checked`);
  return { id, record, text, context: context.value };
}

const tooLarge = fault('too_large', `a record has at most ${recordBytesMax} bytes`);

/** The second half of the first check: true when the record's signature is by `publicKey`, for this cluster. Never throws. */
export function verifyVersion(version: Version, cluster: ClusterId, publicKey: Uint8Array): boolean {
  const signed = signedDigestOf(version, cluster, publicKey);
  return verifySignature(signed.publicKey, signed.domain, signed.digest, signed.signature);
}

/** What `verifyVersion` verifies, for who does it elsewhere. */
export function signedDigestOf(version: Version, cluster: ClusterId, publicKey: Uint8Array): SignedDigest {
  // The text is canonical by now: a signature that is not in base64url was refused.
  const signature = fromBase64Url(version.record.sig) ?? new Uint8Array(0);
  return { publicKey, domain: versionDomain(cluster), digest: digestOf(unsignedText(version)), signature };
}

/** The record's text as it was signed: canonical, without `sig`. */
function unsignedText({ text, record }: Version): string {
  const field = `"sig":"${record.sig}",`;
  const at = text.lastIndexOf(field);
  return text.slice(0, at) + text.slice(at + field.length);
}

/**
 * The second check, when all parents are here: recomputes what follows from them. Undefined when the record holds.
 *
 * Dots decide whether the parents are an antichain, unless one of them was issued twice: then a context can name
 * a parent's dot and mean its double. `isAncestor` settles that from the graph; it is asked only when dots say
 * that one parent is an ancestor of another. Without it the dots have the last word.
 *
 * @param parents the versions named by `record.parents`, in any order. Throws when they are not: that is the caller's bug.
 */
export function checkAgainstParents(
  version: Version,
  parents: readonly Version[],
  isAncestor?: AncestryLookup,
): VersionFault | undefined {
  const { record } = version;
  const given = new Set(parents.map((parent) => parent.id));
  assert(
    given.size === record.parents.length && record.parents.every((id) => given.has(id)),
    `version ${version.id} was checked against versions that are not its parents`,
  );
  return (
    checkParents(record, parents, isAncestor) ??
    (record.generation === generationOfChild(parents)
      ? undefined
      : fault('wrong_generation', 'the generation is not 1 more than the greatest of the parents')) ??
    (contextEquals(version.context, contextOfChild(parents))
      ? undefined
      : fault('wrong_context', "the context is not exactly the ancestors' dots")) ??
    checkDot(record.dot, version.context)
  );
}

function checkParents(
  record: UnsignedRecord,
  parents: readonly Version[],
  isAncestor: AncestryLookup = () => true,
): VersionFault | undefined {
  for (const parent of parents) {
    if (parent.record.ns !== record.ns || parent.record.key !== record.key) {
      return fault('foreign_parent', `parent ${parent.id} is a version of another object`);
    }
  }
  for (const elder of parents) {
    for (const parent of parents) {
      if (elder !== parent && contextHas(parent.context, elder.record.dot) && isAncestor(elder.id, parent.id)) {
        return fault('not_an_antichain', `parent ${elder.id} is an ancestor of parent ${parent.id}`);
      }
    }
  }
  return undefined;
}

function checkDot(dot: Dot, context: DotContext): VersionFault | undefined {
  if (dot.counter > contextMax(context, dot.actor)) return undefined;
  return fault('reused_dot', `counter ${dot.counter} of ${dot.actor} is not greater than one in the context`);
}

function contextOfChild(parents: readonly Version[]): DotContext {
  return parents.reduce(
    (union, parent) => contextUnion(union, contextAdd(parent.context, parent.record.dot)),
    emptyContext,
  );
}

function generationOfChild(parents: readonly Version[]): number {
  return parents.reduce((greatest, parent) => Math.max(greatest, parent.record.generation), 0) + 1;
}

function versionDomain(cluster: ClusterId): string {
  return `anabranch/version/1/${cluster}`;
}

function digestOf(text: string): Uint8Array {
  return blake3(Buffer.from(text, 'utf8'));
}

function idOf(bytes: Uint8Array): VersionId {
  return toBase32(blake3(bytes)) as VersionId;
}
