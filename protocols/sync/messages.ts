import { z } from 'zod';
import { certificateBytesMax } from '../../crdt/certificate.ts';
import { hashBytes, toBase32 } from '../../crdt/digest.ts';
import { branches, depthMax, fingerprintBytes, type Item, type Summary } from '../../crdt/fingerprint-tree.ts';
import type { Result } from '../../crdt/ids.ts';
import { type RangeAnswer, type RangeQuestion, rangesMax } from '../../crdt/reconcile.ts';
import { slotsMax } from '../../crdt/slot-set.ts';
import { decodeMessage, encodeCbor } from '../wire/cbor.ts';
import { byteString, rawHashSchema as hash } from '../wire/schemas.ts';

/** The protocol's name on a libp2p stream. */
export const syncProtocol = '/anabranch/sync/1.0.0';

/** Bytes of a listed document: its id and the digest of its state. */
const itemBytes = 2 * hashBytes;
/** Bytes of a range's summary: a count and a fingerprint. */
const summaryBytes = 4 + fingerprintBytes;
/** Documents of one feed message: 64 KiB, which either side works through in a few milliseconds. */
export const feedEntriesMax = 1_024;
/** Documents asked for in one request. */
export const wantsMax = 256;
/** Heads named for one document; with more, the answer may repeat some of what is held. */
export const haveHeadsMax = 1_024;
/** Heads named in one request altogether, so that it fits a message: 140 KiB. */
export const requestHeadsMax = 4_096;
/** Versions asked for by id in one request. */
export const versionsMax = 1_024;
/** Text bytes packed into one message, so that a largest record still fits beside what is there. */
export const recordsMessageBytes = 128 * 1024;
/** Certificates in one message: 128 KiB at most, as each takes up to 4 KiB. */
export const certificatesMax = 32;
/** The largest content that travels with its record. */
export const alongBytesMax = 4 * 1024;

/** A feed is named by its node's incarnation. */
const feedName = z.string().min(1).max(64);
const changeNumber = z.int().min(0).max(Number.MAX_SAFE_INTEGER);
/** Places in a request's list. */
const places = z
  .array(
    z
      .int()
      .min(0)
      .max(wantsMax - 1),
  )
  .max(wantsMax);
const confirmedLink = z.strictObject({ position: z.int().min(1).max(Number.MAX_SAFE_INTEGER), head: hash });
const packedItems = byteString.refine((bytes) => bytes.length % itemBytes === 0, 'not a whole number of documents');

/** A set of slots, see `SlotSet.encode`; which length is right, the cluster's genesis entry says. */
const slotSet = byteString.refine((bytes) => bytes.length >= 1 && bytes.length <= slotsMax / 8, 'not a set of slots');

/** One range on the wire: the slot, the steps of the prefix, and the summary, packed. */
const packedRange = z.tuple([
  z
    .int()
    .min(0)
    .max(slotsMax - 1),
  byteString.refine((steps) => steps.length <= depthMax && steps.every((step) => step < branches), 'not a prefix'),
  byteString.refine((bytes) => bytes.length === summaryBytes, 'not a summary'),
]);

const request = z.discriminatedUnion('t', [
  /** Asks for the documents of some slots, all when they are left out, that changed after a number of a feed. */
  z.strictObject({
    t: z.literal('feed'),
    feed: feedName.nullable(),
    after: changeNumber,
    slots: slotSet.optional(),
  }),
  /** Asks which ranges differ, and what is in those that do. */
  z.strictObject({ t: z.literal('ranges'), ranges: z.array(packedRange).min(1).max(rangesMax) }),
  /**
   * Asks for the versions of documents that the asker, who holds these heads, lacks, and for the certificates beyond
   * its confirmed head's, or of another head at that position (for all when it has none).
   */
  z.strictObject({
    t: z.literal('records'),
    wants: z
      .array(z.strictObject({ doc: hash, have: z.array(hash).max(haveHeadsMax), confirmed: confirmedLink.optional() }))
      .max(wantsMax),
    /** Contents of at most so many bytes are to come with their records; none when it is left out. */
    along: z.int().min(0).max(alongBytesMax).optional(),
  }),
  /** Asks for versions by id. */
  z.strictObject({ t: z.literal('fetch'), versions: z.array(hash).max(versionsMax) }),
  /**
   * Tells of documents that the answerer ought to have, in this state at least, and asks which of them it lacks. What it
   * lacks it then asks for itself.
   */
  z.strictObject({
    t: z.literal('offer'),
    docs: z
      .array(z.strictObject({ doc: hash, heads: z.array(hash).max(haveHeadsMax), confirmed: confirmedLink.optional() }))
      .min(1)
      .max(wantsMax),
  }),
]);

/** A range's answer: 0 the same, 1 later, or what is in it. */
const packedAnswer = z.union([
  z.literal(0),
  z.literal(1),
  z.strictObject({ items: packedItems }),
  z.strictObject({
    split: byteString.refine((bytes) => bytes.length === branches * summaryBytes, 'not 16 summaries'),
  }),
]);

const response = z.discriminatedUnion('t', [
  /**
   * The feed's name and the number of its newest change, and what time it is there, for display. `entries` are the documents that changed, in order, the
   * last of them by change `through`; null when the number asked about is not one of this feed.
   */
  z.strictObject({
    t: z.literal('feed'),
    feed: feedName,
    last: changeNumber,
    through: changeNumber,
    entries: packedItems.nullable(),
    time: z.int().min(0).max(Number.MAX_SAFE_INTEGER).optional(),
    /** The slots that the answerer keeps, and those of them that it has whole; left out when both are all. */
    slots: z.strictObject({ kept: slotSet, whole: slotSet }).optional(),
  }),
  z.strictObject({ t: z.literal('ranges'), answers: z.array(packedAnswer).max(rangesMax) }),
  /** Records' texts, parents before children. */
  z.strictObject({
    t: z.literal('records'),
    texts: z.array(byteString),
    /** Small contents of these records, in any order; left out when there are none. */
    contents: z.array(byteString).optional(),
  }),
  /** Certificates' texts, of the documents that records were asked for; they come after those records. */
  z.strictObject({
    t: z.literal('certificates'),
    texts: z.array(z.string().max(certificateBytesMax)).min(1).max(certificatesMax),
  }),
  /**
   * Ends the records and certificates of a request; `more` says that a bound cut them short. `partial` are the places in
   * the request of documents whose slots the answerer does not have whole: it may lack what there is of them.
   */
  z.strictObject({
    t: z.literal('done'),
    more: z.boolean(),
    partial: places.optional(),
  }),
  /** The places in an offer of the documents that the answerer lacks, or whose slots it does not keep. */
  z.strictObject({ t: z.literal('offered'), lacks: places }),
]);

/** What the asking side sends. Hashes are 32 raw bytes. */
export type SyncRequest = z.infer<typeof request>;
/** What the answering side sends. */
export type SyncResponse = z.infer<typeof response>;
/** A range as it stands in a request. */
export type PackedRange = z.infer<typeof packedRange>;
/** A range's answer as it stands in a response. */
export type PackedAnswer = z.infer<typeof packedAnswer>;

/** A message as CBOR. */
export function encodeSyncMessage(message: SyncRequest | SyncResponse): Uint8Array {
  return encodeCbor(message);
}

/** Reads a request, or says why it is none. Never throws. */
export function decodeSyncRequest(bytes: Uint8Array): Result<SyncRequest, string> {
  return decodeMessage(request, bytes);
}

/** Reads a response, or says why it is none. Never throws. */
export function decodeSyncResponse(bytes: Uint8Array): Result<SyncResponse, string> {
  return decodeMessage(response, bytes);
}

/** The id that 32 bytes stand for, under the brand the caller knows it has. */
export function idOf<Id extends string>(bytes: Uint8Array): Id {
  return toBase32(bytes) as Id;
}

/** Documents and their digests end to end. */
export function packItems(items: readonly Item[]): Uint8Array {
  const bytes = new Uint8Array(items.length * itemBytes);
  for (const [index, { key, value }] of items.entries()) {
    bytes.set(key, index * itemBytes);
    bytes.set(value, index * itemBytes + hashBytes);
  }
  return bytes;
}

/** What `packItems` packed. */
export function unpackItems(bytes: Uint8Array): Item[] {
  return Array.from({ length: bytes.length / itemBytes }, (_, index) => {
    const at = index * itemBytes;
    return { key: bytes.subarray(at, at + hashBytes), value: bytes.subarray(at + hashBytes, at + itemBytes) };
  });
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
      return { items: packItems(answer.items) };
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

function packSummary({ count, fingerprint }: Summary): Uint8Array {
  const bytes = new Uint8Array(summaryBytes);
  new DataView(bytes.buffer).setUint32(0, count);
  bytes.set(fingerprint, 4);
  return bytes;
}

function unpackSummary(bytes: Uint8Array, at: number): Summary {
  const count = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(at);
  return { count, fingerprint: bytes.subarray(at + 4, at + summaryBytes) };
}
