import { toBase32 } from '../../crdt/digest.ts';

/** The id that raw bytes in a message stand for, what `rawHash` gave, under the brand that the caller knows it has. */
export function idOf<Id extends string>(bytes: Uint8Array): Id {
  return toBase32(bytes) as Id;
}
