import type { IncomingHttpHeaders } from 'node:http';
import { HttpProblem } from './errors.ts';
import { contentTypeBytesMax, metaBytesMax } from './limits.ts';
import { decodePercent, encodePercent } from './percent.ts';

/**
 * Metadata travels as `X-Anabranch-Meta-<name>: <value>`, both ways. Names are lowercase, since header names
 * have no case. Values are UTF-8, percent-encoded wherever a header cannot carry them: `%` itself and all that is
 * not visible ASCII or a space inside. `X-Anabranch-Meta-Title: K%C3%A4se` is `{title: 'Käse'}`. Bytes sent raw are
 * taken as UTF-8. A header sent twice is one value joined by ", ".
 */
const metaPrefix = 'x-anabranch-meta-';

export function metaOf(headers: IncomingHttpHeaders): Readonly<Record<string, string>> | undefined {
  let entries: [string, string][] | undefined;
  let bytes = 0;
  for (const header in headers) {
    if (!header.startsWith(metaPrefix)) continue;
    const name = header.slice(metaPrefix.length);
    const value = decodePercent(String(headers[header]));
    if (value === undefined) {
      throw new HttpProblem('invalid_request', `The value of "${header}" is not percent-encoded UTF-8.`);
    }
    bytes += name.length + Buffer.byteLength(value);
    entries ??= [];
    entries.push([name, value]);
  }
  if (bytes > metaBytesMax) {
    throw new HttpProblem('too_large', `The metadata is larger than ${metaBytesMax} bytes.`, {
      extras: { bytesMax: metaBytesMax },
    });
  }
  return entries === undefined ? undefined : Object.fromEntries(entries);
}

export function metaHeaders(meta: Readonly<Record<string, string>>): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(meta)) headers[metaPrefix + name] = encodeValue(value);
  return headers;
}

const percent = 0x25;
const space = 0x20;
const asciiEnd = 0x7f;
const plainInValue = (byte: number): boolean => byte >= space && byte < asciiEnd && byte !== percent;

/** A space at an end would be trimmed on the way, and those beside it, so the outermost ones are escaped. */
const encodeValue = (value: string): string => encodePercent(value, plainInValue).replace(/^ | $/g, '%20');

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
