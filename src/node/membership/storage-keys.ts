import type { KvKey } from '../../ports/kv.ts';

/** The membership's rooms in the key-value store: leading bytes 0x70 to 0x77 are its own. */
const room = {
  /** The membership document. */
  document: 0x70,
  /** The sequence of this node's newest descriptor. */
  sequence: 0x71,
} as const;

export const documentKey: KvKey = Uint8Array.of(room.document);
export const sequenceKey: KvKey = Uint8Array.of(room.sequence);
