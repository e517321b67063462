import { blake3, fromHex } from '../../crdt/digest.ts';

/** How a vector says what its content is, so that any language can make it. */
export type VectorContent =
  /** BLAKE3 of utf8("anabranch/vector/<seed>/0"), of "…/1" and so on, one after the other, cut at `length` bytes. */
  | { readonly hashes: string; readonly length: number }
  /** The bytes of a hexadecimal text over and over, cut at `length` bytes. */
  | { readonly repeat: string; readonly length: number };

export function contentOf(content: VectorContent): Uint8Array {
  const bytes = new Uint8Array(content.length);
  const pieces = 'hashes' in content ? hashPieces(content.hashes) : repeatedPieces(content.repeat);
  let filled = 0;
  for (const piece of pieces) {
    if (filled >= bytes.length) break;
    bytes.set(piece.subarray(0, bytes.length - filled), filled);
    filled += piece.length;
  }
  return bytes;
}

function* hashPieces(seed: string): Generator<Uint8Array> {
  const encoder = new TextEncoder();
  for (let index = 0; ; index++) yield blake3(encoder.encode(`anabranch/vector/${seed}/${index}`));
}

function* repeatedPieces(hex: string): Generator<Uint8Array> {
  const piece = fromHex(hex);
  if (piece === undefined || piece.length === 0) throw new Error('a vector repeats at least one byte');
  for (;;) yield piece;
}
