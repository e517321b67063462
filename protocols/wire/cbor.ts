import { decode, encode } from 'cborg';
import { z } from 'zod';
import type { Result } from '../../crdt/ids.ts';
import { err, ok } from '../../crdt/ids.ts';

const strictDecoding = {
  strict: true,
  allowIndefinite: false,
  allowUndefined: false,
  allowInfinity: false,
  allowNaN: false,
  allowBigInt: false,
  rejectDuplicateMapKeys: true,
} as const;

/** A protocol message as CBOR (RFC 8949). Map keys are strings; undefined properties are an error of the caller's. */
export function encodeCbor(value: unknown): Uint8Array {
  return encode(value);
}

/**
 * Reads CBOR in its strict form only: no indefinite lengths, duplicate keys, tags, NaN, undefined or
 * integers beyond 2^53. The shape of the value is for the protocol's schema to check. Never throws.
 */
export function decodeCbor(bytes: Uint8Array): Result<unknown, string> {
  try {
    return ok(decode(bytes, strictDecoding) as unknown);
  } catch (error) {
    return err(error instanceof Error ? error.message : String(error));
  }
}

/** Reads CBOR that a schema describes, or says why it is none. Never throws. */
export function decodeMessage<Message>(schema: z.ZodType<Message>, bytes: Uint8Array): Result<Message, string> {
  const value = decodeCbor(bytes);
  if (!value.ok) return value;
  const parsed = schema.safeParse(value.value);
  return parsed.success ? ok(parsed.data) : err(z.prettifyError(parsed.error));
}
