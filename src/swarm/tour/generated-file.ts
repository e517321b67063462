import { createCipheriv } from 'node:crypto';
import { blake3 } from '../../../crdt/digest.ts';

const pieceBytes = 1024 * 1024;

/**
 * `size` bytes that look random and are the same for the same seed, made as they are read: the key stream of
 * AES-256 in counter mode under the seed's hash.
 */
export function* generateFile(seed: string, size: number): Generator<Uint8Array, void, void> {
  const cipher = createCipheriv('aes-256-ctr', blake3(Buffer.from(seed, 'utf8')), Buffer.alloc(16));
  const zeros = Buffer.alloc(pieceBytes);
  for (let left = size; left > 0; left -= pieceBytes) {
    yield cipher.update(left < pieceBytes ? zeros.subarray(0, left) : zeros);
  }
}
