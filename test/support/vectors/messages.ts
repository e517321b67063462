import { toHex } from '../../../crdt/digest.ts';
import type { Result } from '../../../crdt/ids.ts';

/** Messages of a protocol, at least one of every kind there is. */
export type Samples<Message extends { readonly t: string }> = {
  readonly [T in Message['t']]: readonly [Extract<Message, { t: T }>, ...Extract<Message, { t: T }>[]];
};

/** Messages, readable and as the bytes that stand for them. */
export function messageVectors<Message extends { readonly t: string }>(
  samples: Samples<Message>,
  encode: (message: Message) => Uint8Array,
) {
  const messages = Object.values<readonly Message[]>(samples).flat();
  return messages.map((message) => ({ message: readable(message), bytes: toHex(encode(message)) }));
}

/** Bytes that are no message, of which this is made sure. */
export function refusedVectors(
  cases: Readonly<Record<string, Uint8Array>>,
  decode: (bytes: Uint8Array) => Result<unknown, string>,
) {
  return Object.entries(cases).map(([why, bytes]) => {
    if (decode(bytes).ok) throw new Error(`'${why}' is taken for a message`);
    return { why, bytes: toHex(bytes) };
  });
}

/** In JSON a byte string is `{"hex": …}`; CBOR of these messages has no such map. */
function readable(value: unknown): unknown {
  if (value instanceof Uint8Array) return { hex: toHex(value) };
  if (Array.isArray(value)) return value.map(readable);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, readable(field)]));
}
