import { z } from 'zod';
import { certificateBytesMax } from '../../crdt/certificate.ts';
import type { Result } from '../../crdt/ids.ts';
import { rangesMax } from '../../crdt/reconcile.ts';
import { slotsMax } from '../../crdt/slot-set.ts';
import { decodeMessage, encodeCbor } from '../wire/cbor.ts';
import {
  changeNumberSchema,
  feedNameSchema,
  packedAnswerSchema,
  packedItemsSchema,
  packedRangeSchema,
} from '../wire/item-sets.ts';
import { byteString, rawHashSchema as hash } from '../wire/schemas.ts';

/** The protocol's name on a libp2p stream. */
export const syncProtocol = '/anabranch/sync/1.0.0';

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

/** A set of slots, see `SlotSet.encode`; which length is right, the cluster's genesis entry says. */
const slotSet = byteString.refine((bytes) => bytes.length >= 1 && bytes.length <= slotsMax / 8, 'not a set of slots');

const request = z.discriminatedUnion('t', [
  /** Asks for the documents of some slots, all when they are left out, that changed after a number of a feed. */
  z.strictObject({
    t: z.literal('feed'),
    feed: feedNameSchema.nullable(),
    after: changeNumberSchema,
    slots: slotSet.optional(),
  }),
  /** Asks which ranges differ, and what is in those that do. */
  z.strictObject({ t: z.literal('ranges'), ranges: z.array(packedRangeSchema).min(1).max(rangesMax) }),
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

const response = z.discriminatedUnion('t', [
  /**
   * The feed's name and the number of its newest change, and what time it is there, for display. `entries` are the documents that changed, in order, the
   * last of them by change `through`; null when the number asked about is not one of this feed.
   */
  z.strictObject({
    t: z.literal('feed'),
    feed: feedNameSchema,
    last: changeNumberSchema,
    through: changeNumberSchema,
    entries: packedItemsSchema.nullable(),
    time: z.int().min(0).max(Number.MAX_SAFE_INTEGER).optional(),
    /** The slots that the answerer keeps, and those of them that it has whole; left out when both are all. */
    slots: z.strictObject({ kept: slotSet, whole: slotSet }).optional(),
  }),
  z.strictObject({ t: z.literal('ranges'), answers: z.array(packedAnswerSchema).max(rangesMax) }),
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
