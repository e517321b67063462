import { z } from 'zod';
import { fromBase32, hashBytes, toBase32 } from '../../crdt/digest.ts';
import type { BlobHash, Result } from '../../crdt/ids.ts';
import { err, ok } from '../../crdt/ids.ts';
import { decodeCbor, encodeCbor } from '../wire/cbor.ts';
import { wantHashesMax } from './limits.ts';

const wantSchema = z.strictObject({ want: z.instanceof(Uint8Array) });

/** A want message: CBOR `{want: bytes}`, the asked hashes one after the other, 32 bytes each, 1 to `wantHashesMax` of them. */
export function encodeWant(hashes: readonly BlobHash[]): Uint8Array {
  const want = new Uint8Array(hashes.length * hashBytes);
  for (const [index, hash] of hashes.entries()) {
    const bytes = fromBase32(hash);
    if (bytes?.length !== hashBytes) throw new TypeError(`not a blob hash: ${hash}`);
    want.set(bytes, index * hashBytes);
  }
  return encodeCbor({ want });
}

/** The hashes of a peer's want message, or what is wrong with it. */
export function decodeWant(message: Uint8Array): Result<readonly BlobHash[], string> {
  const decoded = decodeCbor(message);
  if (!decoded.ok) return err(`a want message that is not CBOR: ${decoded.error}`);
  const parsed = wantSchema.safeParse(decoded.value);
  if (!parsed.success) return err('a want message of another shape');
  const { want } = parsed.data;
  const count = want.length / hashBytes;
  if (!Number.isInteger(count) || count < 1) return err('a want message that does not hold whole hashes');
  if (count > wantHashesMax)
    return err(`a want message of ${count} hashes, at most ${wantHashesMax} may be asked at once`);
  return ok(
    Array.from(
      { length: count },
      (_, index) => toBase32(want.subarray(index * hashBytes, (index + 1) * hashBytes)) as BlobHash,
    ),
  );
}
