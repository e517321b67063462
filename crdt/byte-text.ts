/**
 * Small arrays are copied here before Node makes text of them: V8 keeps the bytes of an array of up to 64 in the array itself, and
 * would move them into memory of their own for it.
 */
const scratch = Buffer.allocUnsafeSlow(2_048);

/** The text that bytes are in an encoding of Node's. */
export function textOfBytes(bytes: Uint8Array, encoding: 'base64url' | 'hex'): string {
  const { length } = bytes;
  if (length > scratch.length) return Buffer.from(bytes.buffer, bytes.byteOffset, length).toString(encoding);
  scratch.set(bytes);
  return scratch.toString(encoding, 0, length);
}
