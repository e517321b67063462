import canonicalize from 'canonicalize';
import { err, ok, type Result } from './ids.ts';

/** The deepest nesting of arrays and objects that is read. Nothing in the mesh needs more than five. */
const jsonDepthMax = 32;

/**
 * The canonical JSON text of a value (RFC 8785): one text for one value, in every language.
 * Throws for what JSON cannot carry (NaN, infinities, lone surrogates, undefined): a caller passes checked values.
 */
export function encodeCanonical(value: unknown): string {
  const text = canonicalize(value);
  if (text === undefined) throw new TypeError('this value has no JSON text');
  return text;
}

/**
 * The value of a canonical JSON text: parsed, written again and compared, so white space, another key order,
 * duplicate keys, another way to write a number or to escape a character, and lone surrogates are all refused.
 *
 * @param bytesMax the longest text that is looked at, in bytes of UTF-8
 * @returns the value, or a sentence saying what is wrong; never throws
 */
export function decodeCanonical(text: string, bytesMax: number): Result<unknown, string> {
  // No character takes less than one byte, so a long text is refused before it is measured.
  if (text.length > bytesMax || Buffer.byteLength(text, 'utf8') > bytesMax) {
    return err(`the text is longer than ${bytesMax} bytes`);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return err('the text is not JSON');
  }
  if (isDeeperThan(value, jsonDepthMax)) return err(`the text nests deeper than ${jsonDepthMax} levels`);
  try {
    if (encodeCanonical(value) !== text) return err('the text is not in canonical form (RFC 8785)');
  } catch {
    return err('the text has a lone surrogate');
  }
  return ok(value);
}

/** True for an object (not a list) that has exactly these fields: formats refuse what they do not know, by name. */
export function hasExactly(value: unknown, fields: readonly string[]): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  return Object.keys(value).length === fields.length && fields.every((field) => Object.hasOwn(value, field));
}

function isDeeperThan(value: unknown, depth: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  if (depth === 0) return true;
  for (const member of Array.isArray(value) ? value : Object.values(value)) {
    if (isDeeperThan(member, depth - 1)) return true;
  }
  return false;
}
