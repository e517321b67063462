import { z } from 'zod';
import { hashBytes } from '../../crdt/digest.ts';

/** A CBOR byte string of any length. */
export const byteString = z.custom<Uint8Array>((value) => value instanceof Uint8Array, 'not a byte string');

/** A hash or an id as it stands on the wire: 32 raw bytes. */
export const rawHashSchema = z.custom<Uint8Array>(
  (value) => value instanceof Uint8Array && value.length === hashBytes,
  'not a 32-byte hash',
);
