import { expect, it } from 'vitest';
import { rawHash, toBase32 } from '../../../crdt/digest.ts';
import type { Item, TreeReader } from '../../../crdt/fingerprint-tree.ts';
import type { DocId, VersionId } from '../../../crdt/ids.ts';
import { SlotSet } from '../../../crdt/slot-set.ts';
import { SyncClient, type SyncSink } from '../../../protocols/sync/client.ts';
import { decodeSyncRequest, encodeSyncMessage } from '../../../protocols/sync/messages.ts';
import type { SyncSource } from '../../../protocols/sync/server.ts';
import { Channel } from '../../../protocols/wire/channel.ts';
import { packChanges } from '../../../protocols/wire/item-sets.ts';
import { serveRequests } from '../../../protocols/wire/requests.ts';
import { MemoryKv } from '../../../src/adapters/memory/kv.ts';
import { MemoryLog } from '../../../src/adapters/memory/log.ts';
import { SystemClock } from '../../../src/adapters/system/clock.ts';
import type { ContentPlane } from '../../../src/node/content/content-plane.ts';
import type { Incarnation } from '../../../src/node/incarnation.ts';
import { ObjectStore } from '../../../src/node/object-store.ts';
import { SlotTrees } from '../../../src/node/slot-trees.ts';
import { SyncView } from '../../../src/node/sync-view.ts';
import { streamPair, syncExchange } from '../../support/sync-exchange.ts';
import { testCluster, testNode, write } from '../../support/versions.ts';

const clock = new SystemClock();
const held = { kept: SlotSet.all(16), whole: SlotSet.all(16) };
/** More than one answer about ranges, or one page of a feed, has room for. */
const documents = 2_500;
/** Messages that may be on their way to disk while the next is read. */
const messagesAhead = 4;

/** A node that has many small documents. */
async function source(): Promise<SyncSource> {
  const kv = new MemoryKv(clock);
  const objects = new ObjectStore({ cluster: testCluster, slots: 16 });
  for (let count = 0; count < documents; count += 500) {
    await kv.transact((transaction) => {
      for (let index = count; index < count + 500; index += 1) {
        objects.append(transaction, write(testNode('writer'), [], { key: `document ${index}` }));
      }
    });
  }
  const content = { small: () => undefined } as unknown as ContentPlane;
  const trees = new SlotTrees({ kv, clock, log: new MemoryLog(), states: objects });
  const incarnation = { name: 'feed' } as Incarnation;
  return new SyncView({ kv, objects, incarnation, content, slots: held, trees });
}

/** A disk that is slow: what came is on it only once so many more messages have come, or at the end. */
class SlowDisk {
  readonly lookedUp: DocId[] = [];
  records = 0;
  onDisk = 0;
  readonly #writing: { readonly records: number; readonly done: () => void }[] = [];

  readonly sink = {
    kept: () => held.kept,
    slotOf: () => 0,
    nowMs: () => 0,
    turn: () => clock.sleep(0),
    heardTime: () => undefined,
    trees: () => Promise.resolve((): TreeReader => ({ row: () => undefined })),
    digestOf: () => undefined,
    confirmedOf: () => undefined,
    headsOf: (doc: DocId): VersionId[] => {
      this.lookedUp.push(doc);
      return [];
    },
    receive: (texts: readonly Uint8Array[]) => {
      this.records += texts.length;
      const { promise, resolve } = Promise.withResolvers<number>();
      this.#writing.push({ records: texts.length, done: () => resolve(texts.length) });
      if (this.#writing.length > messagesAhead) this.#finishOne();
      return promise;
    },
    receiveCertificates: () => Promise.resolve(),
  } as Partial<SyncSink> as SyncSink;

  #finishOne(): void {
    const first = this.#writing.shift();
    this.onDisk += first?.records ?? 0;
    first?.done();
  }

  finish(): void {
    while (this.#writing.length > 0) this.#finishOne();
  }
}

it.each<[string, (client: SyncClient) => Promise<unknown>]>([
  ['comparing ranges', (client) => client.pullSlots([...Array(16).keys()])],
  ['following a feed', (client) => client.pullFeed({ feed: 'feed', change: 0 })],
])('%s goes on while what came is being written, and ends once all of it is on disk', async (_, pull) => {
  const { channel, served } = syncExchange(await source());
  const disk = new SlowDisk();
  const client = new SyncClient(channel, disk.sink);
  let isDone = false;
  const pulled = pull(client).then(() => {
    isDone = true;
  });
  // Nothing but the arrival of more lets the first ones get to disk.
  await expect.poll(() => disk.records, { timeout: 20_000 }).toBe(documents);
  await clock.sleep(20);
  expect(isDone).toBe(false);
  expect(disk.onDisk).toBeLessThan(documents);
  disk.finish();
  await pulled;
  expect(client.round.recordsReceived).toBe(documents);
  expect(client.round.documentsDiffering).toBe(documents);
  await channel.end();
  await served;
});

it('looks for a document that is new here once, not again to ask for it', async () => {
  const view = await source();
  const { channel, served } = syncExchange(view);
  const disk = new SlowDisk();
  const pulled = new SyncClient(channel, disk.sink).pullFeed({ feed: 'feed', change: 0 });
  await expect.poll(() => disk.records, { timeout: 20_000 }).toBe(documents);
  disk.finish();
  const { complete } = await pulled;
  expect(complete).toBe(true);
  expect(disk.lookedUp).toEqual([]);
  await channel.end();
  await served;
});

it('asks for what changed of a document that is here from what is here of it', async () => {
  const view = await source();
  const { items } = view.changedAfter(0, 1, held.kept) as { readonly items: readonly Item[] };
  const key = (items[0] as Item).key;
  const { channel, served } = syncExchange(view);
  const disk = new SlowDisk();
  const isHere = (doc: DocId): boolean => Buffer.compare(rawHash(doc), key) === 0;
  const sink: SyncSink = {
    ...disk.sink,
    digestOf: (doc) => (isHere(doc) ? new Uint8Array(32) : undefined),
    headsOf: (doc) => {
      disk.sink.headsOf(doc);
      return view.headsOf(doc);
    },
  };
  const pulled = new SyncClient(channel, sink).pullFeed({ feed: 'feed', change: 0 });
  await expect.poll(() => disk.records, { timeout: 20_000 }).toBe(documents - 1);
  disk.finish();
  await pulled;
  expect(disk.lookedUp.every(isHere)).toBe(true);
  expect(disk.lookedUp).not.toEqual([]);
  await channel.end();
  await served;
});

it('asks again for the rest of an answer that was cut short, when others brought meanwhile what was in it', async () => {
  const docs = [1, 2].map((byte) => new Uint8Array(32).fill(byte));
  const here = toBase32(docs[0] as Uint8Array) as string as VersionId;
  const asked: number[][] = [];
  const [near, far] = streamPair();
  const served = serveRequests(
    far,
    {
      protocol: 'sync',
      decode: decodeSyncRequest,
      answer: async (peer, request) => {
        if (request.t === 'feed') {
          const entries = packChanges(docs.map((key) => ({ key, value: key })));
          await peer.send(encodeSyncMessage({ t: 'feed', feed: 'feed', last: 2, through: 2, entries }));
        }
        if (request.t !== 'records') return;
        asked.push(request.wants.map(({ have }) => have.length));
        await peer.send(encodeSyncMessage({ t: 'records', texts: [new Uint8Array(1)] }));
        await peer.send(encodeSyncMessage({ t: 'done', more: asked.length === 1 }));
      },
    },
    { clock },
  );
  const disk = new SlowDisk();
  const sink: SyncSink = {
    ...disk.sink,
    // The first came from another peer once it was asked for.
    headsOf: (doc) => (asked.length > 0 && Buffer.compare(rawHash(doc), docs[0] as Uint8Array) === 0 ? [here] : []),
    receive: () => Promise.resolve(asked.length > 1 ? 1 : 0),
  };
  const channel = new Channel(near, { clock });
  await new SyncClient(channel, sink).pullFeed({ feed: 'feed', change: 0 });
  expect(asked).toEqual([
    [0, 0],
    [1, 0],
  ]);
  await channel.end();
  await served;
});
