/** Byte ranges of a `GET` (RFC 9110, section 14): one range of one representation, or none. */

export type RangeRequest =
  | { readonly kind: 'whole' }
  /** Bytes `start` to `end`, exclusive. */
  | { readonly kind: 'part'; readonly start: number; readonly end: number }
  | { readonly kind: 'unsatisfiable' };

const whole: RangeRequest = { kind: 'whole' };
const unsatisfiable: RangeRequest = { kind: 'unsatisfiable' };
const singleRange = /^bytes=[ \t]*(\d*)-(\d*)[ \t]*$/i;

/**
 * Reads a `Range` header against content of `size` bytes. Units other than bytes are ignored, as the RFC
 * asks. Several ranges, a range that starts past the end and one that is no range are all unsatisfiable:
 * a client that asked for a part must not mistake the whole for it.
 */
export function parseRange(header: string | undefined, size: number): RangeRequest {
  if (header === undefined || !/^bytes=/i.test(header)) return whole;
  const match = singleRange.exec(header);
  if (match === null) return unsatisfiable;
  const [, first = '', last = ''] = match;
  if (first === '') {
    const suffix = Number(last);
    if (last === '' || suffix === 0 || size === 0) return unsatisfiable;
    return { kind: 'part', start: Math.max(0, size - suffix), end: size };
  }
  const start = Number(first);
  const end = last === '' ? size : Math.min(size, Number(last) + 1);
  return start < end ? { kind: 'part', start, end } : unsatisfiable;
}
