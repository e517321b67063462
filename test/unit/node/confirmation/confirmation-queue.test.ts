import { describe, expect, test } from 'vitest';
import { blake3, blobHashOf, rawHash, toBase32 } from '../../../../crdt/digest.ts';
import type { DocId, VersionId } from '../../../../crdt/ids.ts';
import { VirtualClock } from '../../../../src/adapters/memory/clock.ts';
import { MemoryKv } from '../../../../src/adapters/memory/kv.ts';
import { changeFeed } from '../../../../src/node/change-feed.ts';
import { confirmationCursor } from '../../../../src/node/confirmation/certificate-rows.ts';
import { ConfirmationQueue } from '../../../../src/node/confirmation/confirmation-queue.ts';
import type { ObjectRow } from '../../../../src/node/rows.ts';

/** Objects that change one after the other, and a queue of those that are not settled. */
class Feed {
  readonly kv = new MemoryKv(new VirtualClock());
  readonly rows = new Map<DocId, ObjectRow>();
  readonly settled = new Set<DocId>();
  #last = 0;

  queue(copyWaitsMax: number): ConfirmationQueue {
    const objects = { object: (_: unknown, doc: DocId) => this.rows.get(doc) };
    const isPending = ({ key }: ObjectRow): boolean => !this.settled.has(docOf(key));
    return new ConfirmationQueue({ kv: this.kv, objects, isPending }, { copyWaitsMax });
  }

  /** Puts objects into the feed, and gives their rows. */
  async write(keys: readonly string[]): Promise<[DocId, ObjectRow][]> {
    const written = keys.map((key): { doc: DocId; row: ObjectRow; former: number | undefined } => {
      this.#last += 1;
      const doc = docOf(key);
      const former = this.rows.get(doc)?.change;
      const row = { ns: 'test', key, heads: [], versions: 1, dots: {}, increments: 1, change: this.#last };
      this.rows.set(doc, row);
      return { doc, row, former };
    });
    await this.kv.transact((transaction) => {
      for (const { doc, row, former } of written) changeFeed.append(transaction, rawHash(doc), row.change, former);
    });
    return written.map(({ doc, row }) => [doc, row]);
  }

  cursor(): number {
    return confirmationCursor.get(this.kv);
  }
}

const hashText = (text: string): string => toBase32(blake3(Buffer.from(text)));
const docOf = (key: string): DocId => hashText(key) as DocId;
const contentOf = (key: string) => blobHashOf(Buffer.from(key));
const waitOf = (key: string) => ({ manifest: contentOf(key), version: hashText(`version of ${key}`) as VersionId });
const keys = (name: string, count: number): string[] => Array.from({ length: count }, (_, at) => `${name} ${at}`);

type Lacking = (key: string) => boolean;
const isLacking: Lacking = (key) => key.startsWith('lacking');
const butNot =
  (...proved: string[]): Lacking =>
  (key) =>
    isLacking(key) && !proved.includes(key);
const none: Lacking = () => false;

/** Takes all that is ready; what lacks copies has to wait for them, and the rest is settled. */
function takeAll(feed: Feed, queue: ConfirmationQueue, lacks: Lacking): string[] {
  const settled: string[] = [];
  for (let doc = queue.take(); doc !== undefined; doc = queue.take()) {
    const { key } = feed.rows.get(doc) as ObjectRow;
    if (lacks(key)) queue.waitForCopies(doc, waitOf(key));
    else {
      feed.settled.add(doc);
      queue.settle(doc);
      settled.push(key);
    }
  }
  return settled;
}

function lookThrough(feed: Feed, queue: ConfirmationQueue, lacks: Lacking): string[] {
  const settled: string[] = [];
  do {
    queue.lookAgain(16);
    settled.push(...takeAll(feed, queue, lacks));
  } while (queue.isLooking);
  return settled;
}

describe('objects that wait for copies', () => {
  test('do not keep those after them from their turn, however many they are', async () => {
    const feed = new Feed();
    const queue = feed.queue(100);
    for (const [doc, row] of await feed.write(keys('lacking', 1_000))) queue.note(doc, row);
    takeAll(feed, queue, isLacking);
    for (const [doc, row] of await feed.write(['noted'])) queue.note(doc, row);
    expect(takeAll(feed, queue, isLacking)).toEqual(['noted']);
    await feed.write(['scanned']);
    expect(queue.scan()).toBe(true);
    expect(takeAll(feed, queue, isLacking)).toEqual(['scanned']);
    expect(queue.size).toBe(100);
  });

  test('are found again with their proof, and by the next look where there was no room for them', async () => {
    const feed = new Feed();
    const queue = feed.queue(100);
    const lacking = keys('lacking', 1_000);
    await feed.write(lacking);
    queue.scan();
    takeAll(feed, queue, isLacking);
    expect(queue.size).toBe(100);
    expect(queue.proved(contentOf('lacking 7'))).toEqual([[docOf('lacking 7'), waitOf('lacking 7').version]]);
    expect(queue.proved(contentOf('lacking 700'))).toEqual([]);
    expect(takeAll(feed, queue, butNot('lacking 7'))).toEqual(['lacking 7']);
    expect(lookThrough(feed, queue, butNot('lacking 700'))).toEqual(['lacking 700']);
    expect(queue.size).toBe(100);
    const rest = lacking.filter(butNot('lacking 7', 'lacking 700'));
    expect(lookThrough(feed, queue, none).sort()).toEqual(rest.sort());
    expect(queue.hasCopyWaits).toBe(false);
  });

  test('are looked at some at a time', async () => {
    const feed = new Feed();
    const queue = feed.queue(100);
    const lacking = keys('lacking', 1_000);
    await feed.write(lacking);
    queue.scan();
    takeAll(feed, queue, isLacking);
    for (let rounds = 0; rounds === 0 || queue.isLooking; rounds += 1) {
      queue.lookAgain(16);
      let taken = 0;
      for (let doc = queue.take(); doc !== undefined; doc = queue.take()) {
        taken += 1;
        queue.postpone(doc);
      }
      expect(taken).toBeLessThanOrEqual(16);
    }
    expect(queue.size).toBe(1_000);
  });

  test('keep their place over a restart, with and without room for them', async () => {
    const feed = new Feed();
    const queue = feed.queue(10);
    await feed.write(keys('early', 5));
    const lacking = keys('lacking', 30);
    await feed.write(lacking);
    await feed.write(keys('late', 5));
    queue.scan();
    takeAll(feed, queue, isLacking);
    await queue.save({ always: true });
    expect(feed.cursor()).toBe(5);
    const next = feed.queue(10);
    next.scan();
    expect(takeAll(feed, next, none)).toHaveLength(30);
    await next.save({ always: true });
    expect(feed.cursor()).toBe(40);
  });

  test('keep those in the feed that a look has not come to', async () => {
    const feed = new Feed();
    const queue = feed.queue(2);
    const lacking = keys('lacking', 40);
    await feed.write(lacking);
    queue.scan();
    takeAll(feed, queue, isLacking);
    queue.lookAgain(2);
    // Both that had room are settled, and of the others none was come to.
    expect(takeAll(feed, queue, (key) => !['lacking 0', 'lacking 1'].includes(key))).toHaveLength(2);
    await queue.save({ always: true });
    expect(feed.cursor()).toBe(2);
    queue.lookAgain(10);
    expect(takeAll(feed, queue, none)).toHaveLength(10);
    await queue.save({ always: true });
    expect(feed.cursor()).toBe(12);
  });

  test('take up what was written to them meanwhile', async () => {
    const feed = new Feed();
    const queue = feed.queue(10);
    for (const [doc, row] of await feed.write(['plan', 'other'])) queue.note(doc, row);
    takeAll(feed, queue, (key) => key === 'plan');
    for (const [doc, row] of await feed.write(['plan'])) queue.note(doc, row);
    expect(queue.hasReady).toBe(false);
    await queue.save({ always: true });
    expect(feed.cursor()).toBe(2);
    feed.settled.add(docOf('plan'));
    for (const [doc, row] of await feed.write(['plan'])) queue.note(doc, row);
    expect(queue.hasCopyWaits).toBe(false);
    expect(queue.claim(docOf('plan'))).toBe(true);
  });
});
