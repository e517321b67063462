/** Percent-encoding as paths, queries and metadata headers use it: RFC 3986 over strict UTF-8. */

const nonAscii = /[\u0080-\u00ff]/g;

/**
 * Decodes text from a request target or header, where Node hands every byte as one Latin-1 character.
 * Bytes that were sent raw count as they are, so an unencoded UTF-8 key or value works too.
 * Undefined when a `%` starts no escape or the bytes are not valid UTF-8.
 */
export function decodePercent(text: string): string | undefined {
  try {
    return decodeURIComponent(text.replace(nonAscii, (character) => escapeByte(character.charCodeAt(0))));
  } catch {
    return undefined;
  }
}

const utf8 = new TextEncoder();

/** Encodes what is not in `plain`, a test of one ASCII byte, as the escapes of its UTF-8 bytes. */
export function encodePercent(text: string, plain: (byte: number) => boolean): string {
  let encoded = '';
  for (const byte of utf8.encode(text)) encoded += plain(byte) ? String.fromCharCode(byte) : escapeByte(byte);
  return encoded;
}

const escapeByte = (byte: number): string => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
