/**
 * Lowercase base32 (RFC 4648) without padding. Every row that is read or written names hashes, so this runs dozens
 * of times a record; a table each way takes a fifth of the time of a codec for any base.
 */

const alphabet = Buffer.from('abcdefghijklmnopqrstuvwxyz234567', 'latin1');
const notInAlphabet = 0xff;
const values = new Uint8Array(128).fill(notInAlphabet);
for (const [value, code] of alphabet.entries()) values[code] = value;

/** Texts are put together here: one of a hash has 52 characters. */
const scratch = Buffer.allocUnsafeSlow(64);

/** The text of `bytes`. */
export function encodeBase32(bytes: Uint8Array): string {
  const length = Math.ceil((bytes.length * 8) / 5);
  const text = length <= scratch.length ? scratch : Buffer.allocUnsafe(length);
  let at = 0;
  let bits = 0;
  let held = 0;
  for (let index = 0; index < bytes.length; index += 1) {
    held = ((held << 8) | (bytes[index] as number)) & 0xfff;
    for (bits += 8; bits >= 5; at += 1) {
      bits -= 5;
      text[at] = alphabet[(held >>> bits) & 31] as number;
    }
  }
  if (bits > 0) text[at] = alphabet[(held << (5 - bits)) & 31] as number;
  return text.toString('latin1', 0, length);
}

/** The bytes of a text that `encodeBase32` gives, or undefined for any other: two texts never stand for the same bytes. */
export function decodeBase32(text: string): Uint8Array | undefined {
  const bytes = new Uint8Array(Math.floor((text.length * 5) / 8));
  let at = 0;
  let bits = 0;
  let held = 0;
  for (let index = 0; index < text.length; index += 1) {
    const code = text.charCodeAt(index);
    const value = code < 128 ? (values[code] as number) : notInAlphabet;
    if (value === notInAlphabet) return undefined;
    held = ((held << 5) | value) & 0xfff;
    bits += 5;
    if (bits < 8) continue;
    bits -= 8;
    bytes[at] = held >>> bits;
    at += 1;
  }
  // What is left over is the rest of the last character: fewer bits than one, and all of them zero.
  return bits < 5 && (held & ((1 << bits) - 1)) === 0 ? bytes : undefined;
}
