import { blake3, keyedBlake3, toBase32, toHex } from '../../../crdt/digest.ts';

/** Input lengths of the official vectors: around every border of BLAKE3's blocks, chunks and tree. */
const inputLengths = [
  0, 1, 2, 3, 4, 5, 6, 7, 8, 63, 64, 65, 127, 128, 129, 1023, 1024, 1025, 2048, 2049, 3072, 3073, 4096, 4097, 5120,
  5121, 6144, 6145, 7168, 7169, 8192, 8193, 16384, 31744, 102400,
];
const key = 'whats the Elvish word for friend';

/** The bytes 0, 1, … 250, 0, 1, … of the official vectors. */
export function patternBytes(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, at) => at % 251);
}

export function digestVectors() {
  const texts = ['', '00', 'ff', '0102030405', toHex(blake3(new Uint8Array()))];
  return {
    about:
      'BLAKE3: `input` is the bytes 0, 1, ... 250, 0, 1, ... of that length; outputs are 32 bytes in hex. These are the first 32 bytes of the official vectors (BLAKE3-team/BLAKE3, test_vectors/test_vectors.json). base32: RFC 4648, lowercase, no padding, canonical only. A hash is 32 bytes in that form.',
    key,
    blake3: inputLengths.map((inputLength) => ({
      inputLength,
      hash: toHex(blake3(patternBytes(inputLength))),
      keyedHash: toHex(keyedBlake3(Buffer.from(key), patternBytes(inputLength))),
    })),
    base32: texts.map((hex) => ({ hex, text: toBase32(Buffer.from(hex, 'hex')) })),
    base32Refused: ['a', 'AA', 'aaa', 'ab', 'aa======', 'a1', '0a', 'aa ', 'aé', '\u0000\u0000'],
    hashesRefused: [
      '',
      'a'.repeat(51),
      'a'.repeat(53),
      `${'a'.repeat(51)}b`,
      `${'A'.repeat(51)}a`,
      `${'1'.repeat(51)}a`,
    ],
  };
}
