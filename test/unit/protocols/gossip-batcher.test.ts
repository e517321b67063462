import { expect, test } from 'vitest';
import type { DocId, VersionId } from '../../../crdt/ids.ts';
import { HintBatcher } from '../../../protocols/gossip/batcher.ts';
import { decodeGossip, type GossipHint, gossipBytesMax, hintOf } from '../../../protocols/gossip/messages.ts';
import { VirtualClock } from '../../../src/adapters/memory/clock.ts';

const doc = 'a'.repeat(52) as DocId;
const head = 'a'.repeat(52) as VersionId;
const hint = (recordBytes: number, contentBytes: number): GossipHint =>
  hintOf(doc, [head], [new Uint8Array(recordBytes)], [new Uint8Array(contentBytes)]);

/** What is published of hints for one room: of each message, the bytes of each hint's record and content. */
function published(hints: readonly GossipHint[]): (readonly (number | undefined)[])[][] {
  const messages: (readonly (number | undefined)[])[][] = [];
  const batcher = new HintBatcher({
    clock: new VirtualClock(),
    publish: (_room, message) => {
      expect(message.length).toBeLessThanOrEqual(gossipBytesMax);
      const decoded = decodeGossip(message);
      if (!decoded.ok) throw new Error(decoded.error);
      messages.push(decoded.value.hints.map(({ records, contents }) => [records[0]?.length, contents?.[0]?.length]));
    },
  });
  for (const each of hints) batcher.add(0, each);
  batcher.flush();
  return messages;
}

test('contents share a message with their records until it is full', () => {
  const messages = published(Array.from({ length: 20 }, () => hint(700, 4_096)));
  expect(messages.map((message) => message.length)).toEqual([12, 8]);
  expect(messages.flat()).toEqual(Array.from({ length: 20 }, () => [700, 4_096]));
});

test('a hint that is too large for a message goes without its content first, and then without its record', () => {
  expect(published([hint(40_000, 16_384)])).toEqual([[[40_000, 16_384]]]);
  expect(published([hint(60_000, 16_384)])).toEqual([[[60_000, undefined]]]);
  expect(published([hint(65_000, 1)])).toEqual([[[undefined, undefined]]]);
});
