import { MeshError } from '../../ports/mesh-error.ts';

/** Deeper values, longer strings and longer lists than these are cut: a peer's nonsense may not fill the log. */
const depthMax = 6;
const stringLengthMax = 2_000;
const entriesMax = 50;
const bytesShownMax = 32;

/** A value as plain JSON: errors keep name, code, message, detail and cause, bytes become hexadecimal. Never throws. */
export function printable(value: unknown, depth = 0): unknown {
  switch (typeof value) {
    case 'string':
      return value.length > stringLengthMax ? `${value.slice(0, stringLengthMax)}…` : value;
    case 'bigint':
    case 'symbol':
      return String(value);
    case 'number':
      return Number.isFinite(value) ? value : String(value);
    case 'function':
      return '[function]';
    case 'object':
      break;
    default:
      return value;
  }
  if (value === null) return null;
  if (depth >= depthMax) return '[…]';
  try {
    return printableObject(value, depth);
  } catch {
    return '[unprintable]';
  }
}

function printableObject(value: object, depth: number): unknown {
  if (value instanceof Error) return printableError(value, depth);
  if (value instanceof Uint8Array) {
    const shown = Buffer.from(value.buffer, value.byteOffset, Math.min(value.byteLength, bytesShownMax)).toString(
      'hex',
    );
    return value.byteLength > bytesShownMax ? `${shown}… (${value.byteLength} bytes)` : shown;
  }
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? 'Invalid Date' : value.toISOString();
  if (value instanceof Set || Array.isArray(value)) return printableList([...value], depth);
  const entries = value instanceof Map ? [...value.entries()] : Object.entries(value);
  const plain: Record<string, unknown> = {};
  for (const [key, entry] of entries.slice(0, entriesMax)) plain[String(key)] = printable(entry, depth + 1);
  if (entries.length > entriesMax) plain['…'] = `${entries.length - entriesMax} more`;
  return plain;
}

function printableList(list: readonly unknown[], depth: number): unknown[] {
  const shown = list.slice(0, entriesMax).map((entry) => printable(entry, depth + 1));
  return list.length > entriesMax ? [...shown, `… ${list.length - entriesMax} more`] : shown;
}

/** An operational error explains itself; any other may be a bug, and a bug needs its stack. */
function printableError(error: Error, depth: number): Record<string, unknown> {
  const code = 'code' in error ? error.code : undefined;
  const plain: Record<string, unknown> = { name: error.name };
  if (code !== undefined) plain.code = printable(code, depth + 1);
  plain.message = printable(error.message, depth + 1);
  if (error instanceof MeshError) {
    if (Object.keys(error.detail).length > 0) plain.detail = printable(error.detail, depth + 1);
  } else {
    plain.stack = printable(error.stack, depth + 1);
  }
  if (error.cause !== undefined) plain.cause = printable(error.cause, depth + 1);
  if (error instanceof AggregateError) plain.errors = printable(error.errors, depth + 1);
  return plain;
}
