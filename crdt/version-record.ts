import { hasExactly } from './canonical-json.ts';
import { type DotContext, decodeContext, type EncodedContext, isCounter } from './causality.ts';
import { isHash } from './digest.ts';
import { type BlobHash, type Dot, err, type NodeId, type Result, type VersionId } from './ids.ts';
import { isActor, isNodeId } from './node-name.ts';
import { checkKey, checkNamespace } from './object-name.ts';
import { fromBase64Url, signatureBytes } from './signature.ts';

/** Bytes of UTF-8 in a record's text, at most. All fields but the context fit into well under half of it. */
export const recordBytesMax = 65_536;
/** Parents a version may name; more heads are merged in stages. */
const parentsMax = 256;
/** Bytes of UTF-8 in all names and values of `meta` together. */
export const metaBytesMax = 8_192;
const metaNameLengthMax = 64;
const typeLengthMax = 255;
const authorBytesMax = 256;
/** The greatest generation: it is an Automerge op counter, which has 32 bits there. */
const generationMax = 2_147_483_647;

/** A version's content: bytes that are stored elsewhere, by their names. */
export interface Content {
  /** Name of the root manifest. */
  readonly manifest: BlobHash;
  /** Bytes. */
  readonly size: number;
  /** BLAKE3 of the whole content in lowercase hex, as `b3sum` prints it. */
  readonly b3: string;
}

/** A position of the control log: the one the writer stood at. */
export interface LogPosition {
  readonly seq: number;
  /** Hash of that entry, 52 characters of base32. */
  readonly hash: string;
}

/** A version record without its signature. */
export interface UnsignedRecord {
  readonly v: 1;
  readonly ns: string;
  readonly key: string;
  /** `merge` is a put with two or more parents; a `delete` may have any number. */
  readonly kind: 'put' | 'delete' | 'merge';
  /** Ascending as text, an antichain. */
  readonly parents: readonly VersionId[];
  readonly dot: Dot;
  /** Exactly the ancestors' dots. */
  readonly context: EncodedContext;
  /** 1 + the parents' maximum, or 1. */
  readonly generation: number;
  /** Null for a `delete`, and only there. */
  readonly content: Content | null;
  /** Media type in visible ASCII, spaces inside; empty for a `delete`, and only there. */
  readonly type: string;
  /** User metadata: lowercase names of letters, digits, `.`, `_` and `-`; values without control characters. */
  readonly meta: Readonly<Record<string, string>>;
  /** The writing principal. */
  readonly author: string;
  /** The writing node; the dot's actor is a life of it. */
  readonly node: NodeId;
  /** Milliseconds since the epoch by the writer's clock. For display only. */
  readonly time: number;
  readonly log: LogPosition;
}

/** A whole version record, as its canonical JSON text has it. */
export interface VersionRecord extends UnsignedRecord {
  /** 64 bytes of ed25519 in base64url. */
  readonly sig: string;
}

const unsignedFields = [
  'author',
  'content',
  'context',
  'dot',
  'generation',
  'key',
  'kind',
  'log',
  'meta',
  'node',
  'ns',
  'parents',
  'time',
  'type',
  'v',
] as const;
const signedFields = [...unsignedFields, 'sig'] as const;

type Fields = Record<(typeof signedFields)[number], unknown>;

const b3Pattern = /^[0-9a-f]{64}$/;
const typePattern = /^[!-~]([ -~]*[!-~])?$/;
const metaNamePattern = /^[a-z0-9][a-z0-9._-]*$/;
// Metadata and authors go into HTTP headers and terminals, where a control character would speak for the mesh.
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for.
const controlPattern = /[\u0000-\u001f\u007f]/;

/**
 * Checks everything about a record that can be judged without its parents and its author's key: the exact set of
 * fields, each one's form and bounds, and how they fit together.
 *
 * @returns the context it carries, or a sentence saying what is wrong; never throws
 */
export function checkRecord(value: unknown, form: 'signed' | 'unsigned'): Result<DotContext, string> {
  const fields = form === 'signed' ? signedFields : unsignedFields;
  if (!hasExactly(value, fields)) return err(`a version record has exactly the fields ${fields.join(', ')}`);
  const record = value as Fields;
  const fault =
    checkIdentity(record) ??
    checkAncestry(record) ??
    checkContent(record) ??
    checkMeta(record.meta) ??
    checkOrigin(record) ??
    (form === 'signed' ? checkSignatureForm(record.sig) : undefined);
  return fault === undefined ? decodeContext(record.context) : err(fault);
}

/** Checks what a writer adds to a version of its own: a sentence saying what is wrong, or undefined. Never throws. */
export function checkLabels({ type, meta, author }: Pick<Fields, 'type' | 'meta' | 'author'>): string | undefined {
  return checkType(type) ?? checkMeta(meta) ?? checkAuthor(author);
}

function checkIdentity({ v, ns, key }: Fields): string | undefined {
  if (v !== 1) return 'this is not version 1 of the record format';
  if (typeof ns !== 'string') return 'ns is not text';
  if (typeof key !== 'string') return 'key is not text';
  return checkNamespace(ns) ?? checkKey(key);
}

function checkAncestry({ kind, parents, dot, generation, node }: Fields): string | undefined {
  if (!Array.isArray(parents) || parents.length > parentsMax) return `parents are a list of at most ${parentsMax}`;
  if (!parents.every((parent) => typeof parent === 'string' && isHash(parent))) return 'a parent is not a version id';
  for (let at = 1; at < parents.length; at += 1) {
    if (parents[at - 1] >= parents[at]) return 'parents are not in ascending order, each once';
  }
  if (kind !== 'put' && kind !== 'delete' && kind !== 'merge') return 'kind is not put, delete or merge';
  if (kind === 'put' && parents.length > 1) return 'a put with two or more parents is a merge';
  if (kind === 'merge' && parents.length < 2) return 'a merge names two or more parents';
  if (!isIntegerIn(generation, 1, generationMax)) return `generation is not an integer from 1 to ${generationMax}`;
  if ((parents.length === 0) !== (generation === 1)) return 'generation is 1 for a version without parents only';
  if (!hasExactly(dot, ['actor', 'counter'])) return 'dot has exactly the fields actor and counter';
  const { actor, counter } = dot;
  if (typeof actor !== 'string' || !isActor(actor)) return 'the dot names something that is not an actor';
  if (!isCounter(counter)) return 'the dot has no counter';
  if (typeof node !== 'string' || !isNodeId(node)) return 'node is not a node id';
  return actor.startsWith(`${node}.`) ? undefined : 'the dot belongs to another node';
}

function checkContent({ kind, content, type }: Fields): string | undefined {
  if (kind === 'delete') {
    if (content !== null) return 'a delete has no content';
    return type === '' ? undefined : 'a delete has an empty type';
  }
  const typeFault = checkType(type);
  if (typeFault !== undefined) return typeFault;
  if (!hasExactly(content, ['b3', 'manifest', 'size'])) return 'content has exactly the fields b3, manifest and size';
  const { b3, manifest, size } = content;
  if (typeof b3 !== 'string' || !b3Pattern.test(b3)) return 'b3 is not 64 digits of lowercase hexadecimal';
  if (typeof manifest !== 'string' || !isHash(manifest)) return 'manifest is not a hash';
  return isIntegerIn(size, 0, Number.MAX_SAFE_INTEGER) ? undefined : 'size is not a number of bytes';
}

function checkType(type: unknown): string | undefined {
  if (typeof type === 'string' && type.length <= typeLengthMax && typePattern.test(type)) return undefined;
  return `type is not 1 to ${typeLengthMax} characters of ASCII, visible but for inner spaces`;
}

function checkMeta(meta: unknown): string | undefined {
  if (typeof meta !== 'object' || meta === null || Array.isArray(meta)) return 'meta is not an object';
  let bytes = 0;
  for (const [name, text] of Object.entries(meta as Record<string, unknown>)) {
    if (name.length > metaNameLengthMax || !metaNamePattern.test(name)) {
      return `a name in meta is not 1 to ${metaNameLengthMax} lowercase letters, digits, dots, underscores and hyphens`;
    }
    if (!isPlainText(text)) return `the value of ${name} in meta is not text without control characters`;
    bytes += name.length + Buffer.byteLength(text, 'utf8');
  }
  return bytes > metaBytesMax ? `meta is longer than ${metaBytesMax} bytes` : undefined;
}

function checkOrigin({ author, time, log }: Fields): string | undefined {
  const authorFault = checkAuthor(author);
  if (authorFault !== undefined) return authorFault;
  if (!isIntegerIn(time, 0, Number.MAX_SAFE_INTEGER)) return 'time is not a number of milliseconds';
  if (!hasExactly(log, ['hash', 'seq'])) return 'log has exactly the fields hash and seq';
  if (!isIntegerIn(log.seq, 0, Number.MAX_SAFE_INTEGER)) return 'the log position has no sequence number';
  return typeof log.hash === 'string' && isHash(log.hash) ? undefined : 'the log position has no hash';
}

function checkAuthor(author: unknown): string | undefined {
  if (isPlainText(author) && author !== '' && Buffer.byteLength(author, 'utf8') <= authorBytesMax) return undefined;
  return `author is not 1 to ${authorBytesMax} bytes of text without control characters`;
}

function checkSignatureForm(sig: unknown): string | undefined {
  const bytes = typeof sig === 'string' ? fromBase64Url(sig) : undefined;
  return bytes?.length === signatureBytes ? undefined : `sig is not ${signatureBytes} bytes in base64url`;
}

function isPlainText(value: unknown): value is string {
  return typeof value === 'string' && !controlPattern.test(value) && value.isWellFormed();
}

function isIntegerIn(value: unknown, least: number, greatest: number): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= least && value <= greatest;
}
