import type { IncomingHttpHeaders } from 'node:http';
import { HttpProblem } from './errors.ts';
import { contentTypeBytesMax, metaBytesMax } from './limits.ts';
import { decodePercent, encodePercent } from './percent.ts';

/**
 * Metadata travels as `X-Anabranch-Meta-<name>: <value>`, both ways. Names and values are UTF-8, percent-encoded
 * wherever a header cannot carry them: `%` itself, all that is not visible ASCII (a space inside a value is
 * plain) and, in names, capitals, since header names have no case. `X-Anabranch-Meta-Title: K%C3%A4se` is
 * `{title: 'Käse'}`. Bytes sent raw are taken as UTF-8. A header sent twice is one value joined by ", ".
 */
export const metaPrefix = 'x-anabranch-meta-';

export function metaOf(headers: IncomingHttpHeaders): Readonly<Record<string, string>> | undefined {
  let entries: [string, string][] | undefined;
  let bytes = 0;
  for (const header in headers) {
    if (!header.startsWith(metaPrefix)) continue;
    const entry = decodeEntry(header, String(headers[header]));
    bytes += Buffer.byteLength(entry[0]) + Buffer.byteLength(entry[1]);
    if (bytes > metaBytesMax) {
      throw new HttpProblem('too_large', `The metadata is larger than ${metaBytesMax} bytes.`, {
        extras: { bytesMax: metaBytesMax },
      });
    }
    entries ??= [];
    entries.push(entry);
  }
  return entries === undefined ? undefined : Object.fromEntries(entries);
}

function decodeEntry(header: string, value: string): [string, string] {
  const name = decodePercent(header.slice(metaPrefix.length));
  const text = decodePercent(value);
  if (name === undefined || name === '' || text === undefined) {
    throw new HttpProblem('invalid_request', `The header "${header}" is not percent-encoded UTF-8 with a name.`);
  }
  return [name, text];
}

export function metaHeaders(meta: Readonly<Record<string, string>>): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(meta)) {
    headers[metaPrefix + encodePercent(name, plainInName)] = encodeValue(value);
  }
  return headers;
}

const percent = 0x25;
const space = 0x20;
/** RFC 9110's `tchar` without `%` and capitals. */
const nameBytes = new Set(Buffer.from("!#$&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"));
const plainInName = (byte: number): boolean => nameBytes.has(byte);
const plainInValue = (byte: number): boolean => byte >= space && byte < 0x7f && byte !== percent;

/** Spaces at the ends would be trimmed on the way, so they are escaped. */
function encodeValue(value: string): string {
  return encodePercent(value, plainInValue).replace(/^ +| +$/g, (spaces) => '%20'.repeat(spaces.length));
}

const visibleText = /^[\x20-\x7e]+$/;

/** The `Content-Type` as it will be stored, or undefined when there is none. */
export function contentTypeOf(headers: IncomingHttpHeaders): string | undefined {
  const type = headers['content-type'];
  if (type === undefined || type === '') return undefined;
  if (type.length > contentTypeBytesMax || !visibleText.test(type)) {
    throw new HttpProblem(
      'invalid_request',
      `The Content-Type must be at most ${contentTypeBytesMax} visible ASCII characters.`,
    );
  }
  return type;
}

/** A stored type as a header. A version written by other means may hold what no header can carry. */
export function contentTypeHeader(type: string): string {
  return visibleText.test(type) ? type : 'application/octet-stream';
}
