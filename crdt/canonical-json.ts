import canonicalize from 'canonicalize';
import { err, ok, type Result } from './ids.ts';

/** The deepest nesting of arrays and objects that is read. Nothing in the mesh needs more than five. */
const jsonDepthMax = 32;

/**
 * The canonical JSON text of a value (RFC 8785): one text for one value, in every language.
 * Throws for what JSON cannot carry (NaN, infinities, lone surrogates, undefined): a caller passes checked values.
 */
export function encodeCanonical(value: unknown): string {
  const ordered = inOrder(value, jsonDepthMax);
  if (ordered !== notPlain) return JSON.stringify(ordered);
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
  const ordered = inOrder(value, jsonDepthMax);
  if (ordered !== notPlain) return JSON.stringify(ordered) === text ? ok(value) : err(notCanonical);
  if (isDeeperThan(value, jsonDepthMax)) return err(`the text nests deeper than ${jsonDepthMax} levels`);
  try {
    if (canonicalize(value) !== text) return err(notCanonical);
  } catch {
    return err('the text has a lone surrogate');
  }
  return ok(value);
}

const notCanonical = 'the text is not in canonical form (RFC 8785)';

/** True for an object (not a list) that has exactly these fields: formats refuse what they do not know, by name. */
export function hasExactly(value: unknown, fields: readonly string[]): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  return Object.keys(value).length === fields.length && fields.every((field) => Object.hasOwn(value, field));
}

/** What is not written natively: see `inOrder`. */
const notPlain = Symbol('not plain');
/** A key that objects keep before all others, whatever the order it was put in. */
const indexPattern = /^(?:0|[1-9][0-9]*)$/;

/**
 * The value with the members of every object in canonical order: itself where they are so already, as in all that was
 * read from canonical text. Of such a value `JSON.stringify` writes the canonical text, since RFC 8785 writes numbers and
 * strings as ECMAScript does, for less than half the price. `notPlain` when that is not so sure: it holds what JSON cannot
 * carry, what has a say in how it is written, or keys that cannot be brought in order; or it is nested deeper than `depth`.
 */
function inOrder(value: unknown, depth: number): unknown {
  if (typeof value === 'string') return value.isWellFormed() ? value : notPlain;
  if (typeof value === 'number') return Number.isFinite(value) ? value : notPlain;
  if (typeof value === 'boolean' || value === null) return value;
  if (typeof value !== 'object' || depth === 0) return notPlain;
  return Array.isArray(value) ? listInOrder(value, depth - 1) : membersInOrder(value, depth - 1);
}

function listInOrder(list: readonly unknown[], depth: number): unknown {
  let copy: unknown[] | undefined;
  for (let at = 0; at < list.length; at += 1) {
    const item = inOrder(list[at], depth);
    if (item === notPlain) return notPlain;
    if (item === list[at]) continue;
    copy ??= [...list];
    copy[at] = item;
  }
  return copy ?? list;
}

function membersInOrder(value: object, depth: number): unknown {
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return notPlain;
  const object = value as Readonly<Record<string, unknown>>;
  const keys = Object.keys(object);
  let moved: Map<string, unknown> | undefined;
  let isInOrder = true;
  let before = '';
  for (const key of keys) {
    if (!key.isWellFormed()) return notPlain;
    const member = object[key];
    const inside = inOrder(member, depth);
    if (inside === notPlain) return notPlain;
    if (inside !== member) {
      moved ??= new Map();
      moved.set(key, inside);
    }
    if (key < before) isInOrder = false;
    before = key;
  }
  if (isInOrder && moved === undefined) return object;
  const copy: Record<string, unknown> = {};
  for (const key of keys.sort()) {
    // An index cannot be moved, and assigning to `__proto__` makes no member.
    if (key === '__proto__' || indexPattern.test(key)) return notPlain;
    copy[key] = moved?.get(key) ?? object[key];
  }
  return copy;
}

function isDeeperThan(value: unknown, depth: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  if (depth === 0) return true;
  for (const member of Array.isArray(value) ? value : Object.values(value)) {
    if (isDeeperThan(member, depth - 1)) return true;
  }
  return false;
}
