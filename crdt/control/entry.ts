import { decodeCanonical, encodeCanonical, hasExactly } from '../canonical-json.ts';
import { blake3, isHash, toBase32 } from '../digest.ts';
import { err, ok, type Result } from '../ids.ts';
import { type ControlOperation, checkOperation } from './operations.ts';

/** Bytes of UTF-8 in an entry's text, at most. */
export const entryBytesMax = 65_536;
/** Operations in one entry: they take effect together or not at all. */
const operationsMax = 64;
const actorBytesMax = 256;
const reasonBytesMax = 2_048;

// Actors and reasons are shown in terminals, where a control character would speak for the mesh.
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for.
const controlPattern = /[\u0000-\u001f\u007f-\u009f]/;

/** What was done, by whom and why: one step of the cluster's state. Entry 0 is the genesis, in its own format. */
export interface ControlEntry {
  readonly v: 1;
  /** From 1. */
  readonly seq: number;
  /** Hash of the entry before it; of entry 1, the cluster's id. */
  readonly previous: string;
  /**
   * RFC 6962 root over the texts of entries 0 to seq - 1, 52 characters of base32: a certificate of this entry is one
   * of that root too, so who has only the certificate can check an inclusion proof against it.
   */
  readonly root: string;
  /** 1 to 64, done in this order, all or none. */
  readonly operations: readonly ControlOperation[];
  /** The principal who asked: 1 to 256 bytes of text without control characters. */
  readonly actor: string;
  /** In the words of who asked; at most 2 KiB of text without control characters, and may be empty. */
  readonly reason: string;
  /** Milliseconds since the epoch by the proposer's clock. For display only. */
  readonly time: number;
  /** Of the coordinators who certify this entry: the ones before it. */
  readonly epoch: number;
}

/** An entry with its text, which is what is hashed, stored and sent. */
export interface EntryText {
  readonly entry: ControlEntry;
  /** Canonical JSON of the entry. */
  readonly text: string;
  /** BLAKE3 of the text, 52 characters of base32. */
  readonly hash: string;
}

const entryFields = ['actor', 'epoch', 'operations', 'previous', 'reason', 'root', 'seq', 'time', 'v'];

/** The text of an entry. Refuses what `decodeEntry` would refuse, with its sentence; never throws. */
export function encodeEntry(entry: ControlEntry): Result<EntryText, string> {
  try {
    // Read again: what JSON leaves out of a caller's object is then not in the entry either.
    return decodeEntry(encodeCanonical(entry));
  } catch {
    return err('the entry is not JSON');
  }
}

/**
 * Reads an entry's text: size, canonical form, exact fields and their bounds.
 *
 * @returns the entry, or a sentence saying what is wrong; never throws
 */
export function decodeEntry(text: string): Result<EntryText, string> {
  const decoded = decodeCanonical(text, entryBytesMax);
  if (!decoded.ok) return decoded;
  const fault = checkEntry(decoded.value);
  if (fault !== undefined) return err(fault);
  return ok({ entry: decoded.value as ControlEntry, text, hash: toBase32(blake3(Buffer.from(text, 'utf8'))) });
}

function checkEntry(value: unknown): string | undefined {
  if (!hasExactly(value, entryFields)) return `an entry has exactly the fields ${entryFields.join(', ')}`;
  const { v, seq, previous, root, operations, actor, reason, time, epoch } = value;
  if (v !== 1) return 'this is not version 1 of the entry format';
  if (!isIntegerFrom(1, seq)) return 'seq is not an integer from 1';
  if (typeof previous !== 'string' || !isHash(previous)) return 'previous is not the hash of an entry';
  if (typeof root !== 'string' || !isHash(root)) return 'root is not a hash';
  if (!isText(actor, actorBytesMax) || actor === '') {
    return `actor is not 1 to ${actorBytesMax} bytes of text without control characters`;
  }
  if (!isText(reason, reasonBytesMax)) {
    return `reason is not at most ${reasonBytesMax} bytes of text without control characters`;
  }
  if (!isIntegerFrom(0, time)) return 'time is not a number of milliseconds';
  if (!isIntegerFrom(1, epoch)) return 'epoch is not an integer from 1';
  return checkOperations(operations);
}

function checkOperations(operations: unknown): string | undefined {
  if (!Array.isArray(operations) || operations.length === 0 || operations.length > operationsMax) {
    return `an entry has 1 to ${operationsMax} operations`;
  }
  const ids = new Set<string>();
  for (const [index, operation] of operations.entries()) {
    const fault = checkOperation(operation);
    if (fault !== undefined) return `operation ${index + 1}: ${fault}`;
    if (ids.has(operation.id)) return `operation ${index + 1}: an earlier operation has the same id`;
    ids.add(operation.id);
  }
  return undefined;
}

function isText(value: unknown, bytesMax: number): value is string {
  return (
    typeof value === 'string' &&
    value.isWellFormed() &&
    !controlPattern.test(value) &&
    Buffer.byteLength(value, 'utf8') <= bytesMax
  );
}

function isIntegerFrom(least: number, value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= least;
}
