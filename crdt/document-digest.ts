import { blake3, hashBytes, rawHash } from './digest.ts';
import type { DocId, VersionId } from './ids.ts';

const domain = Buffer.from('anabranch/document-state/2\0');
const linkBytes = 8 + hashBytes;
/** Most documents have fewer heads: these are put together in memory that is used again. */
const fewHeads = 8;
const gathered = Buffer.allocUnsafeSlow(bytesFor(fewHeads));

/** A place of an object's confirmed chain and the head there. */
export interface ConfirmedLink {
  /** From 1. */
  readonly position: number;
  readonly head: VersionId;
}

/** What two nodes compare of a document's state. */
export interface DocumentState {
  /** Sorted as text. */
  readonly heads: readonly VersionId[];
  /** The link of the certificate that supersedes all others known; absent before the first. */
  readonly certified?: ConfirmedLink | undefined;
  /** The link of the confirmed head: the same, or while the head of that one is not held, an earlier one or none. */
  readonly confirmed?: ConfirmedLink | undefined;
}

/**
 * The 32-byte digest two nodes compare to learn whether they hold the same state of a document:
 * BLAKE3 over a domain tag, the document's id, the certified link, the confirmed link and the 32-byte head ids in text
 * order. A link is its position (big-endian, 8 bytes) and its 32-byte head; position 0 alone stands for none. The heads
 * fix the whole version graph, since every version names its parents by hash; the links fix which head is the confirmed
 * one, also where a position came to have two.
 */
export function documentDigest(doc: DocId, { heads, certified, confirmed }: DocumentState): Uint8Array {
  const bytes = heads.length <= fewHeads ? gathered : Buffer.allocUnsafe(bytesFor(heads.length));
  bytes.set(domain);
  bytes.set(rawHash(doc), domain.length);
  let at = domain.length + hashBytes;
  for (const link of [certified, confirmed]) {
    at = bytes.writeBigUInt64BE(BigInt(link?.position ?? 0), at);
    if (link === undefined) continue;
    bytes.set(rawHash(link.head), at);
    at += hashBytes;
  }
  for (const head of heads) {
    bytes.set(rawHash(head), at);
    at += hashBytes;
  }
  return blake3(bytes.subarray(0, at));
}

function bytesFor(heads: number): number {
  return domain.length + hashBytes + 2 * linkBytes + hashBytes * heads;
}
