import { z } from 'zod';
import { isHash } from '../../../crdt/digest.ts';
import type { BlobHash } from '../../../crdt/ids.ts';

export const hashSchema = z.custom<BlobHash>((value) => typeof value === 'string' && isHash(value));

export function encodeRow(value: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(value));
}

/** A row as it was written, or undefined when the disk has changed it. */
export function decodeRow<T>(schema: z.ZodType<T>, value: Uint8Array): T | undefined {
  try {
    return schema.parse(JSON.parse(Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString()));
  } catch {
    return undefined;
  }
}
