import type { Kv, KvReader } from '../../src/ports/kv.ts';

/** Small words for rows of a store. */

export const key = (text: string): Uint8Array => new TextEncoder().encode(text);
/** The keys of all rows that `put` wrote. */
export const keysOf = (kv: KvReader): string[] =>
  [...kv.range({ start: key(' '), end: key('~') })].map(([each]) => new TextDecoder().decode(each));
export const put = (kv: Kv, name: string, length = 10): Promise<void> =>
  kv.transact((transaction) => transaction.put(key(name), new Uint8Array(length).fill(7)));
