import assert from 'node:assert/strict';

/**
 * Whole numbers as big-endian bytes, written into small arrays by every write of an object. Without a DataView: V8 keeps the
 * bytes of an array of up to 64 in the array itself, and moves them into memory of their own for whoever asks for its
 * `buffer`, which costs several times what making the array does.
 */

const twoTo32 = 2 ** 32;

/** Writes a number below 2^32. */
export function writeUint32(bytes: Uint8Array, value: number, at: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

/** Throws a RangeError where the bytes end before. */
export function readUint32(bytes: Uint8Array, at: number): number {
  if (!(at >= 0 && at + 4 <= bytes.length)) throw new RangeError(`a number at ${at} of only ${bytes.length} bytes`);
  const high = ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
  const low = ((bytes[at + 2] as number) << 8) | (bytes[at + 3] as number);
  return ((high << 16) | low) >>> 0;
}

/** Writes a whole number below 2^53 that is not negative; any other is a bug. */
export function writeUint64(bytes: Uint8Array, value: number, at: number): void {
  assert(Number.isSafeInteger(value) && value >= 0, `not a whole number below 2^53: ${value}`);
  writeUint32(bytes, Math.floor(value / twoTo32), at);
  writeUint32(bytes, value % twoTo32, at + 4);
}

/** The nearest number there is: exact up to 2^53. Throws a RangeError where the bytes end before. */
export function readUint64(bytes: Uint8Array, at: number): number {
  return readUint32(bytes, at) * twoTo32 + readUint32(bytes, at + 4);
}
