import { blake3, toBase32 } from '../../crdt/digest.ts';

/** An id or hash for a name, the same each time: as long as a real one, and of nothing that there is. */
export const idOf = <Id extends string>(name: string): Id => toBase32(blake3(Buffer.from(name))) as Id;
