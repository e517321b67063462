import { createCipheriv } from 'node:crypto';

export const mebibyte = 1_048_576;
const pieceBytes = mebibyte;

/** Incompressible bytes that are the same every time for a seed: the key stream of AES-CTR. */
export function* generatedBytes(totalBytes: number, seed: number): Generator<Uint8Array> {
  const key = Buffer.alloc(16, seed);
  const cipher = createCipheriv('aes-128-ctr', key, Buffer.alloc(16));
  const zeros = Buffer.alloc(pieceBytes);
  for (let left = totalBytes; left > 0; left -= pieceBytes) {
    yield cipher.update(left < pieceBytes ? zeros.subarray(0, left) : zeros);
  }
}
