import { z } from 'zod';
import { hashBytes, toBase32 } from '../../crdt/digest.ts';
import { err, ok, type Result } from '../../crdt/ids.ts';
import { decodeCbor, encodeCbor } from '../wire/cbor.ts';
import { byteString, rawHashSchema as hash } from '../wire/schemas.ts';

/** The protocol's name on a libp2p stream. */
export const syncProtocol = '/anabranch/sync/1.0.0';

/** Bytes of one entry of a listing: a document's id and the digest of its state. */
export const listingEntryBytes = 2 * hashBytes;
/** Entries of one listing message: 192 KiB, well within a message. */
export const listingEntriesMax = 3_072;
/** Slots named in one question: the most a cluster can have. */
const slotsMax = 4_096;
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

const slot = z
  .int()
  .min(0)
  .max(slotsMax - 1);

const request = z.discriminatedUnion('t', [
  /** Asks for the fingerprints of slots. */
  z.strictObject({ t: z.literal('slots'), slots: z.array(slot).max(slotsMax) }),
  /** Asks for the documents of one slot, in the order of their ids, after one of them. */
  z.strictObject({ t: z.literal('list'), slot, after: hash.nullable() }),
  /** Asks for the versions of documents that the asker, who holds these heads, lacks. */
  z.strictObject({
    t: z.literal('records'),
    wants: z.array(z.strictObject({ doc: hash, have: z.array(hash).max(haveHeadsMax) })).max(wantsMax),
  }),
  /** Asks for versions by id. */
  z.strictObject({ t: z.literal('fetch'), versions: z.array(hash).max(versionsMax) }),
]);

const response = z.discriminatedUnion('t', [
  z.strictObject({ t: z.literal('slots'), fingerprints: z.array(hash).max(slotsMax) }),
  z.strictObject({
    t: z.literal('list'),
    /** Entries end to end, `listingEntryBytes` each. */
    entries: byteString.refine((bytes) => bytes.length % listingEntryBytes === 0, 'not a whole number of entries'),
    more: z.boolean(),
  }),
  /** Records' texts, parents before children. */
  z.strictObject({ t: z.literal('records'), texts: z.array(byteString) }),
  /** Ends the records of a request; `more` says that a bound cut them short. */
  z.strictObject({ t: z.literal('done'), more: z.boolean() }),
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
  return decode(request, bytes);
}

/** Reads a response, or says why it is none. Never throws. */
export function decodeSyncResponse(bytes: Uint8Array): Result<SyncResponse, string> {
  return decode(response, bytes);
}

/** The id that 32 bytes stand for, under the brand the caller knows it has. */
export function idOf<Id extends string>(bytes: Uint8Array): Id {
  return toBase32(bytes) as Id;
}

function decode<T>(schema: z.ZodType<T>, bytes: Uint8Array): Result<T, string> {
  const value = decodeCbor(bytes);
  if (!value.ok) return value;
  const parsed = schema.safeParse(value.value);
  return parsed.success ? ok(parsed.data) : err(z.prettifyError(parsed.error));
}
