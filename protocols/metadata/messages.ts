import { z } from 'zod';
import { isHash } from '../../crdt/digest.ts';
import type { Result, VersionId } from '../../crdt/ids.ts';
import { slotsMax } from '../../crdt/slot-set.ts';
import { decodeMessage, encodeCbor } from '../wire/cbor.ts';
import { byteString } from '../wire/schemas.ts';

/** The protocol's name on a libp2p stream. */
export const metadataProtocol = '/anabranch/metadata/1.0.0';

/** Entries of one page. */
const pageEntriesMax = 1_000;
/** Characters of a namespace, and of a key, a prefix, a delimiter or what stands before the next page. */
const namespaceLengthMax = 63;
const textLengthMax = 2_048;
/** Heads that a conflict names; of one with more, the graph has them all. */
export const conflictHeadsMax = 1_024;

const namespace = z.string().min(1).max(namespaceLengthMax);
const text = z.string().max(textLengthMax);
const version = z.custom<VersionId>((value) => typeof value === 'string' && isHash(value), 'not a version id');
const slots = byteString.refine((bytes) => bytes.length >= 1 && bytes.length <= slotsMax / 8, 'not a set of slots');
const limit = z.int().min(1).max(pageEntriesMax);
const count = z.int().min(0).max(Number.MAX_SAFE_INTEGER);

const request = z.discriminatedUnion('t', [
  /** Asks for a page of the objects of a namespace that are in these slots. */
  z.strictObject({
    t: z.literal('objects'),
    slots,
    ns: namespace,
    prefix: text,
    delimiter: text,
    after: text.nullable(),
    limit,
  }),
  /** Asks for a page of the conflicts of a namespace, or of all, that are in these slots. */
  z.strictObject({ t: z.literal('conflicts'), slots, ns: namespace.nullable(), after: text.nullable(), limit }),
]);

const listed = z.strictObject({
  key: text,
  version,
  heads: count,
  size: count.nullable(),
  state: z.enum(['confirmed', 'provisional']),
  time: z.number(),
});

const conflict = z.strictObject({
  ns: namespace,
  key: text,
  heads: z.array(version).max(conflictHeadsMax),
  preferred: version,
});

const response = z.discriminatedUnion('t', [
  /** Objects and common prefixes, each in order; `next` says up to where they are all there is, null that there is no more. */
  z.strictObject({
    t: z.literal('objects'),
    objects: z.array(listed).max(pageEntriesMax),
    prefixes: z.array(text).max(pageEntriesMax),
    next: text.nullable(),
  }),
  z.strictObject({
    t: z.literal('conflicts'),
    conflicts: z.array(conflict).max(pageEntriesMax),
    next: text.nullable(),
  }),
  /** The answerer does not have all of these slots whole. */
  z.strictObject({ t: z.literal('elsewhere') }),
]);

/** What the asking side sends. Texts are as the HTTP interface has them. */
export type MetadataRequest = z.infer<typeof request>;
/** What the answering side sends. */
export type MetadataResponse = z.infer<typeof response>;
/** A page of objects. */
export type ObjectsPage = Omit<Extract<MetadataResponse, { t: 'objects' }>, 't'>;
/** A page of conflicts. */
export type ConflictsPage = Omit<Extract<MetadataResponse, { t: 'conflicts' }>, 't'>;

/** A message as CBOR. */
export function encodeMetadataMessage(message: MetadataRequest | MetadataResponse): Uint8Array {
  return encodeCbor(message);
}

/** Reads a request, or says why it is none. Never throws. */
export function decodeMetadataRequest(bytes: Uint8Array): Result<MetadataRequest, string> {
  return decodeMessage(request, bytes);
}

/** Reads a response, or says why it is none. Never throws. */
export function decodeMetadataResponse(bytes: Uint8Array): Result<MetadataResponse, string> {
  return decodeMessage(response, bytes);
}
