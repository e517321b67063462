import { blake3, rawHash } from './digest.ts';
import type { DocId, VersionId } from './ids.ts';

const domain = Buffer.from('anabranch/document-state/1\0');

/**
 * The 32-byte digest two nodes compare to learn whether they hold the same state of a document:
 * BLAKE3 over a domain tag, the document's id, the certificate position (big-endian, 8 bytes; 0 until
 * there are certificates) and the 32-byte head ids in text order. The heads fix the whole version graph,
 * since every version names its parents by hash.
 *
 * @param heads sorted as text
 */
export function documentDigest(doc: DocId, heads: readonly VersionId[], certificatePosition: number): Uint8Array {
  const bytes = new Uint8Array(domain.length + 32 + 8 + 32 * heads.length);
  bytes.set(domain);
  bytes.set(rawHash(doc), domain.length);
  new DataView(bytes.buffer).setBigUint64(domain.length + 32, BigInt(certificatePosition));
  let at = domain.length + 40;
  for (const head of heads) {
    bytes.set(rawHash(head), at);
    at += 32;
  }
  return blake3(bytes);
}
