import assert from 'node:assert/strict';
import { type KvKey, kvKeyBytesMax } from './kv.ts';

/** Node's own conversions, without a Buffer around the key, which would cost more than the text. */
const { latin1Slice, latin1Write } = Buffer.prototype as unknown as {
  latin1Slice(this: Uint8Array, start: number, end: number): string;
  latin1Write(this: Uint8Array, text: string, at: number, length: number): number;
};

/**
 * Keys are converted here. V8 keeps the bytes of an array of up to 64 in the array itself, and moves them into memory of their
 * own for who converts them there: that costs several times as much, and as much again when the array is collected.
 */
const scratch = new Uint8Array(kvKeyBytesMax);

/** One character a byte: strings of these compare as their bytes do. */
export function keyText(key: KvKey): string {
  const { length } = key;
  if (length > scratch.length) return latin1Slice.call(key, 0, length);
  scratch.set(key);
  return latin1Slice.call(scratch, 0, length);
}

/** The key whose text this is. */
export function keyOfText(text: string): KvKey {
  const { length } = text;
  if (length <= scratch.length) {
    writeKeyOfText(scratch, text, 0);
    return scratch.slice(0, length);
  }
  const key = new Uint8Array(length);
  writeKeyOfText(key, text, 0);
  return key;
}

/** Writes the key whose text this is. */
export function writeKeyOfText(target: Uint8Array, text: string, at: number): void {
  latin1Write.call(target, text, at, text.length);
}

/** Throws for a key that is longer or shorter than any may be. */
export function checkKey({ length }: KvKey): void {
  // Every read comes by here, so the sentence is made only when somebody is to read it.
  if (length < 1 || length > kvKeyBytesMax) assert.fail(`a key has 1 to ${kvKeyBytesMax} bytes, not ${length}`);
}
