import { z } from 'zod';
import { certificateBytesMax } from '../../crdt/certificate.ts';
import { rawHash } from '../../crdt/digest.ts';
import { type ClusterId, type DocId, err, type Result, type VersionId } from '../../crdt/ids.ts';
import { decodeMessage, encodeCbor } from '../wire/cbor.ts';
import { byteString, rawHashSchema } from '../wire/schemas.ts';

/** The largest gossip message: what gossipsub is set to pass on. */
export const gossipBytesMax = 64 * 1024;
/** Hints in one message. */
const hintsMax = 256;
/** Heads a hint names; an object with more is hinted by its record alone. */
const hintHeadsMax = 16;
/** Certificates of one document in a hint: one is enough to say what is confirmed. */
const hintCertificatesMax = 2;

const message = z.strictObject({
  v: z.literal(1),
  hints: z
    .array(
      z.strictObject({
        doc: rawHashSchema,
        /** Heads of the document at the sender, 32 bytes each; empty when there are too many to name. */
        heads: z.array(rawHashSchema).max(hintHeadsMax),
        /** Records' texts, parents first, when they fit. */
        records: z.array(byteString).max(hintsMax),
        /** Certificates' texts; left out when there are none. */
        certificates: z.array(z.string().max(certificateBytesMax)).max(hintCertificatesMax).optional(),
        /** Small contents of these records; left out when there are none. */
        contents: z.array(byteString).max(hintsMax).optional(),
      }),
    )
    .min(1)
    .max(hintsMax),
});

/** That a document changed: a hint that may be lost, late or repeated without harm. */
export type GossipMessage = z.infer<typeof message>;
/** One document of a message. */
export type GossipHint = GossipMessage['hints'][number];

/**
 * What is told on one topic: the changes of a slot, so that who does not hold it need not listen, or certificates, of
 * which a message carries all that were signed together.
 */
export type GossipRoom = number | 'confirmed';

/** The topic of a room. */
export function gossipTopic(cluster: ClusterId, room: GossipRoom): string {
  return `anabranch/${cluster}/${room}`;
}

/** A message as CBOR. */
export function encodeGossip(hints: readonly GossipHint[]): Uint8Array {
  return encodeCbor({ v: 1, hints });
}

/** Reads a message, or says why it is none. Never throws. */
export function decodeGossip(bytes: Uint8Array): Result<GossipMessage, string> {
  if (bytes.length > gossipBytesMax) return err(`a message of ${bytes.length} bytes`);
  return decodeMessage(message, bytes);
}

/** A hint that carries a certificate, and names the head that it proves. */
export function certificateHint(doc: DocId, head: VersionId, certificate: string): GossipHint {
  return { doc: rawHash(doc), heads: [rawHash(head)], records: [], certificates: [certificate] };
}

/** A hint that carries a version's record, and its content when that is small. */
export function hintOf(
  doc: DocId,
  heads: readonly VersionId[],
  records: readonly Uint8Array[],
  contents: readonly Uint8Array[] = [],
): GossipHint {
  const named = heads.length > hintHeadsMax ? [] : heads;
  const hint = { doc: rawHash(doc), heads: named.map((head) => rawHash(head)), records: [...records] };
  return contents.length === 0 ? hint : { ...hint, contents: [...contents] };
}
