import { z } from 'zod';
import { readUint32, writeUint32 } from '../../crdt/big-endian.ts';
import { hashBytes } from '../../crdt/digest.ts';
import {
  branches,
  depthMax,
  fingerprintBytes,
  type Item,
  type ItemChange,
  itemValueBytes,
  type Summary,
} from '../../crdt/fingerprint-tree.ts';
import type { RangeAnswer, RangeQuestion } from '../../crdt/reconcile.ts';
import { byteString } from './schemas.ts';

/** How sets that are reconciled (`crdt/reconcile.ts`) and followed as feeds of changes stand in messages. */

/** Changes of one feed message: 64 KiB, which either side works through in a few milliseconds. */
export const feedEntriesMax = 1_024;

const itemBytes = hashBytes + itemValueBytes;
const summaryBytes = 4 + fingerprintBytes;
/** Sets are numbered below this. */
const setsMax = 4_096;
/** The value of an item that is no longer in the set. */
const absentByte = 0xff;

/** The number of a change in a feed. */
export const changeNumberSchema = z.int().min(0).max(Number.MAX_SAFE_INTEGER);
/** A feed is named by its node's incarnation. */
export const feedNameSchema = z.string().min(1).max(64);
/** Items or changes end to end. */
export const packedItemsSchema = byteString.refine(
  (bytes) => bytes.length % itemBytes === 0 && bytes.length <= feedEntriesMax * itemBytes,
  'not a whole number of items, or too many',
);

/** One range in a question: the set, the steps of the prefix, and the summary, packed. */
export const packedRangeSchema = z.tuple([
  z
    .int()
    .min(0)
    .max(setsMax - 1),
  byteString.refine((steps) => steps.length <= depthMax && steps.every((step) => step < branches), 'not a prefix'),
  byteString.refine((bytes) => bytes.length === summaryBytes, 'not a summary'),
]);

/** A range's answer: 0 the same, 1 later, or what is in it. */
export const packedAnswerSchema = z.union([
  z.literal(0),
  z.literal(1),
  z.strictObject({ items: byteString.refine((bytes) => bytes.length % itemBytes === 0, 'not a number of items') }),
  z.strictObject({
    split: byteString.refine((bytes) => bytes.length === branches * summaryBytes, 'not 16 summaries'),
  }),
]);

/** A range as it stands in a request. */
export type PackedRange = z.infer<typeof packedRangeSchema>;
/** A range's answer as it stands in a response. */
export type PackedAnswer = z.infer<typeof packedAnswerSchema>;

/** Changes end to end; a key whose item is gone has a value of all ones. */
export function packChanges(changes: readonly ItemChange[]): Uint8Array {
  const bytes = new Uint8Array(changes.length * itemBytes).fill(absentByte);
  for (const [index, { key, value }] of changes.entries()) {
    bytes.set(key, index * itemBytes);
    if (value !== undefined) bytes.set(value, index * itemBytes + hashBytes);
  }
  return bytes;
}

/** What `packChanges` packed. */
export function unpackChanges(bytes: Uint8Array): ItemChange[] {
  return unpackItems(bytes).map(({ key, value }) => ({
    key,
    value: value.every((byte) => byte === absentByte) ? undefined : value,
  }));
}

/** A question as it stands in a request. */
export function packRange({ set, prefix, summary }: RangeQuestion): PackedRange {
  return [set, Uint8Array.from(prefix), packSummary(summary)];
}

/** What `packRange` packed. */
export function unpackRange([set, steps, summary]: PackedRange): RangeQuestion {
  return { set, prefix: [...steps], summary: unpackSummary(summary, 0) };
}

/** An answer as it stands in a response. */
export function packAnswer(answer: RangeAnswer): PackedAnswer {
  switch (answer.kind) {
    case 'same':
      return 0;
    case 'later':
      return 1;
    case 'items':
      return { items: packChanges(answer.items) };
    case 'split':
      return { split: Uint8Array.from(Buffer.concat(answer.children.map(packSummary))) };
  }
}

/** What `packAnswer` packed. */
export function unpackAnswer(packed: PackedAnswer): RangeAnswer {
  if (packed === 0) return { kind: 'same' };
  if (packed === 1) return { kind: 'later' };
  if ('items' in packed) return { kind: 'items', items: unpackItems(packed.items) };
  const children = Array.from({ length: branches }, (_, step) => unpackSummary(packed.split, step * summaryBytes));
  return { kind: 'split', children };
}

/** Items end to end, none of them gone. */
export function unpackItems(bytes: Uint8Array): Item[] {
  return Array.from({ length: bytes.length / itemBytes }, (_, index) => {
    const at = index * itemBytes;
    return { key: bytes.subarray(at, at + hashBytes), value: bytes.subarray(at + hashBytes, at + itemBytes) };
  });
}

function packSummary({ count, fingerprint }: Summary): Uint8Array {
  const bytes = new Uint8Array(summaryBytes);
  writeUint32(bytes, count, 0);
  bytes.set(fingerprint, 4);
  return bytes;
}

function unpackSummary(bytes: Uint8Array, at: number): Summary {
  return { count: readUint32(bytes, at), fingerprint: bytes.subarray(at + 4, at + summaryBytes) };
}
