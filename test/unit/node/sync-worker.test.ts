import { afterEach, describe, expect, it } from 'vitest';
import type { DocId, NodeId, PeerId } from '../../../crdt/ids.ts';
import { SlotSet } from '../../../crdt/slot-set.ts';
import { decodeVersion } from '../../../crdt/version.ts';
import { syncProtocol } from '../../../protocols/sync/messages.ts';
import { serveSync } from '../../../protocols/sync/server.ts';
import { endFrame } from '../../../protocols/wire/frames.ts';
import { VirtualClock } from '../../../src/adapters/memory/clock.ts';
import { MemoryKv } from '../../../src/adapters/memory/kv.ts';
import { steadyLinks } from '../../../src/adapters/memory/links.ts';
import { MemoryLog } from '../../../src/adapters/memory/log.ts';
import { MemoryMetrics } from '../../../src/adapters/memory/metrics.ts';
import { MemoryHub, type MemoryNetwork } from '../../../src/adapters/memory/network.ts';
import { SeededRandom } from '../../../src/adapters/memory/random.ts';
import { changeFeed } from '../../../src/node/change-feed.ts';
import { Incarnation } from '../../../src/node/incarnation.ts';
import { ObjectStore } from '../../../src/node/object-store.ts';
import { SlotTrees } from '../../../src/node/slot-trees.ts';
import { versionKey } from '../../../src/node/storage-keys.ts';
import { SyncView } from '../../../src/node/sync-view.ts';
import { SyncWorker } from '../../../src/node/sync-worker.ts';
import type { ByteStream } from '../../../src/ports/network.ts';
import { accepted, testCluster, testNode, write } from '../../support/versions.ts';

const patienceMs = 600_000;
const lookMs = 5;
const waitMsMax = 60_000;
const slots = { kept: SlotSet.all(16), whole: SlotSet.all(16) };
const documentsPerTransaction = 500;

/** What a node keeps, without the node. */
class Store {
  readonly kv: MemoryKv;
  readonly objects = new ObjectStore({ cluster: testCluster, slots: 16 });
  readonly view: SyncView;
  readonly #incarnation: Incarnation;

  constructor(clock: VirtualClock, name: string) {
    this.kv = new MemoryKv(clock);
    const { kv, objects } = this;
    this.#incarnation = new Incarnation({ kv, random: new SeededRandom(name) }, testNode(name).nodeId);
    const trees = new SlotTrees({ kv, clock, log: new MemoryLog(), states: objects });
    const content = { small: () => undefined };
    this.view = new SyncView({ kv, objects, incarnation: this.#incarnation, content, slots, trees });
  }

  async start(): Promise<void> {
    await this.#incarnation.start();
  }

  /** Writes so many documents of one version each. */
  async fill(name: string, count: number): Promise<DocId[]> {
    const docs: DocId[] = [];
    for (let done = 0; done < count; done += documentsPerTransaction) {
      await this.kv.transact((transaction) => {
        for (let at = done; at < Math.min(count, done + documentsPerTransaction); at += 1) {
          const key = `${name}/${at}`;
          this.objects.append(transaction, write(testNode(name), [], { key }));
          docs.push(this.objects.documentId('docs', key));
        }
      });
    }
    return docs;
  }

  lacksOf(docs: readonly DocId[]): number {
    return docs.filter((doc) => this.objects.object(this.kv, doc) === undefined).length;
  }

  /** As a node takes records in, sound as they are here. */
  async receive(texts: readonly Uint8Array[]) {
    const versions = texts.map((text) => accepted(decodeVersion(text)));
    const added = versions.filter(({ id }) => this.kv.get(versionKey(id)) === undefined);
    await this.kv.transact((transaction) => {
      for (const version of added) this.objects.append(transaction, version);
    });
    return { added, incomplete: [], faults: [] };
  }
}

/** A peer that answers as a node does. */
interface Peer {
  readonly id: PeerId;
  readonly store: Store;
  readonly network: MemoryNetwork;
  /** Streams of sync that are open to it, and the most that were at once. */
  open: number;
  openMost: number;
  /** All there were. */
  streams: number;
  /** Bytes both ways on them. */
  bytes: number;
  /** How long it takes for each piece that it reads, in milliseconds. */
  slowMs: number;
  /** Breaks a stream off after so many pieces. */
  breaksOffAfter: number;
}

/** A node's sync worker among peers, on virtual time. */
class Scene {
  readonly clock = new VirtualClock();
  readonly hub = new MemoryHub({ clock: this.clock }, { links: steadyLinks(1) });
  readonly metrics = new MemoryMetrics();
  readonly store = new Store(this.clock, 'alice');
  readonly network = this.hub.join('alice' as PeerId);
  /** What makes it hear of something: the slots that are kept changed. */
  slotsChanged = (): void => undefined;
  owes = false;
  readonly worker: SyncWorker;

  constructor(intervalMs: number) {
    const { clock, metrics, store, network } = this;
    this.worker = new SyncWorker(
      {
        network,
        clock,
        random: new SeededRandom('alice'),
        kv: store.kv,
        objects: store.objects,
        view: store.view,
        intake: { receive: (texts: readonly Uint8Array[]) => store.receive(texts) },
        propagation: { arrived: () => undefined, heardTime: () => undefined },
        certificates: { receive: async () => undefined },
        control: { follow: async () => undefined },
        slots: {
          ...slots,
          isEverything: true,
          compared: () => undefined,
          onChange: (listener: () => void) => {
            this.slotsChanged = listener;
            return () => undefined;
          },
        },
        duties: { owes: () => this.owes, carryOut: async () => false },
        nodeOf: (peer: PeerId) => peer as string as NodeId,
        log: new MemoryLog(),
        metrics,
      } as never,
      { intervalMs },
    );
  }

  static async start({ intervalMs = 3_600_000 } = {}): Promise<Scene> {
    const scene = new Scene(intervalMs);
    scene.worker.start();
    await scene.run(scene.store.start());
    await scene.network.start();
    return scene;
  }

  /** A peer comes with so many documents of its own. */
  async join(name: string, count: number): Promise<{ readonly peer: Peer; readonly docs: readonly DocId[] }> {
    const network = this.hub.join(name as PeerId);
    const store = new Store(this.clock, name);
    const peer: Peer = {
      id: name as PeerId,
      store,
      network,
      open: 0,
      openMost: 0,
      streams: 0,
      bytes: 0,
      slowMs: 0,
      breaksOffAfter: Number.POSITIVE_INFINITY,
    };
    await this.run(store.start());
    const docs = await this.run(store.fill(name, count));
    network.handle(syncProtocol, (stream) => this.#serve(peer, stream));
    return { peer, docs };
  }

  async #serve(peer: Peer, stream: ByteStream): Promise<void> {
    peer.streams += 1;
    peer.open += 1;
    peer.openMost = Math.max(peer.openMost, peer.open);
    let pieces = 0;
    const watched: ByteStream = {
      remotePeer: stream.remotePeer,
      read: async () => {
        const bytes = await stream.read();
        // It sees at once that the other side has ended, so that streams that follow each other are not open at once.
        if (peer.slowMs > 0 && bytes !== null && !isEnd(bytes)) await this.clock.sleep(peer.slowMs);
        peer.bytes += bytes?.length ?? 0;
        pieces += 1;
        if (pieces > peer.breaksOffAfter) stream.reset(new Error('broken off'));
        return bytes;
      },
      write: (bytes) => {
        peer.bytes += bytes.length;
        return stream.write(bytes);
      },
      onReleased: (listener) => stream.onReleased(listener),
      end: () => stream.end(),
      reset: (reason) => stream.reset(reason),
    };
    try {
      await serveSync(watched, peer.store.view, { clock: this.clock, lacking: () => undefined });
    } catch {
      // The other side knows as well.
    } finally {
      peer.open -= 1;
    }
  }

  run<T>(promise: Promise<T>): Promise<T> {
    return this.clock.run(promise, patienceMs);
  }

  until(condition: () => boolean): Promise<void> {
    const waiting = async (): Promise<void> => {
      for (let waitedMs = 0; !condition(); waitedMs += lookMs) {
        if (waitedMs > waitMsMax) throw new Error(`not in time: ${condition}`);
        await this.clock.sleep(lookMs);
      }
    };
    return this.run(waiting());
  }

  rounds(outcome: string): number {
    return this.metrics.value('anabranch_sync_rounds_total', { outcome });
  }

  /** What the rounds of a kind that ended so came to, altogether. */
  tallyOf(kind: 'gaps' | 'feed' | 'ranges', outcome = 'complete') {
    const figure = (name: string) => this.metrics.value(`anabranch_sync_round_${name}`, { kind, outcome });
    return {
      rounds: this.metrics.observations('anabranch_sync_round_bytes', { kind, outcome }),
      bytes: figure('bytes'),
      comparisons: figure('comparisons'),
      documents: figure('documents'),
    };
  }

  stop(): void {
    this.worker.stop();
  }
}

function isEnd(bytes: Uint8Array): boolean {
  return Buffer.compare(bytes, endFrame()) === 0;
}

let scene: Scene;
afterEach(() => scene.stop());

describe('rounds with one peer', () => {
  it('never run two at once, whatever calls for them meanwhile', async () => {
    scene = await Scene.start({ intervalMs: 100 });
    const { peer: bob, docs } = await scene.join('bob', 300);
    bob.slowMs = 40;
    await bob.network.start();
    let called = 0;
    for (let ms = 0; ms < 20_000; ms += 10) {
      await scene.clock.advance(10);
      if (ms % 130 === 0) scene.worker.requestDocuments(bob.id, docs.slice(0, 3));
      if (ms % 170 === 0) scene.slotsChanged();
      if (ms % 190 === 0) {
        scene.owes = true;
        scene.worker.dutiesArose();
      }
      called += bob.open;
    }
    expect(bob.openMost).toBe(1);
    // There was hardly a moment without one, so one was under way at most of these calls.
    expect(called).toBeGreaterThan(1_000);
    expect(bob.streams).toBeGreaterThan(20);
    expect(scene.store.lacksOf(docs)).toBe(0);
  });

  it('bring what was asked for during one in the next', async () => {
    scene = await Scene.start();
    const { peer: bob, docs } = await scene.join('bob', 1_000);
    bob.slowMs = 40;
    await bob.network.start();
    await scene.until(() => scene.store.lacksOf(docs) < docs.length);
    // What differs is known by now, so this round will not bring it.
    const late = await scene.run(bob.store.fill('late', 1));
    scene.worker.requestDocuments(bob.id, late);
    expect([bob.streams, scene.rounds('complete')]).toEqual([1, 0]);
    await scene.until(() => scene.rounds('complete') === 1);
    expect(scene.store.lacksOf(late)).toBe(1);
    await scene.until(() => scene.store.lacksOf(late) === 0);
    expect(bob.streams).toBe(2);
  });
});

describe('rounds by the timer', () => {
  it('find what neither hints nor the feed tell of', async () => {
    scene = await Scene.start({ intervalMs: 1_000 });
    const { peer: bob, docs } = await scene.join('bob', 300);
    await bob.network.start();
    await scene.until(() => scene.rounds('complete') === 1);
    const missed = await scene.run(bob.store.fill('missed', 3));
    // As if they had come and were lost again: the feed is followed from behind them.
    const { name: feed, last } = bob.store.view.feed();
    const { kv } = scene.store;
    await scene.run(kv.transact((transaction) => changeFeed.setCursor(transaction, bob.id, { feed, change: last })));
    expect(scene.store.lacksOf([...docs, ...missed])).toBe(3);
    await scene.clock.advance(1_600);
    expect(scene.store.lacksOf([...docs, ...missed])).toBe(0);
    expect(scene.tallyOf('ranges')).toMatchObject({ documents: 3 });
  });

  it('cost little where all that changed has come some other way, and say from where the feed goes on', async () => {
    scene = await Scene.start({ intervalMs: 1_000 });
    const { peer: bob } = await scene.join('bob', 300);
    await bob.network.start();
    await scene.until(() => scene.rounds('complete') === 1);
    const before = scene.tallyOf('ranges');
    // The very same records.
    for (const store of [bob.store, scene.store]) await scene.run(store.fill('both', 2_000));
    await scene.clock.advance(1_600);
    const { rounds, bytes, documents } = scene.tallyOf('ranges');
    expect(rounds).toBeGreaterThan(before.rounds);
    expect(documents).toBe(before.documents);
    expect(bytes - before.bytes).toBeLessThan(2_000);
    expect(changeFeed.cursor(scene.store.kv, bob.id)).toEqual({
      feed: bob.store.view.feed().name,
      change: bob.store.view.feed().last,
    });
  });

  it('come after half of the interval at the earliest and one and a half at the latest, and not in step', async () => {
    scene = await Scene.start({ intervalMs: 1_000 });
    const { peer: bob } = await scene.join('bob', 5);
    await bob.network.start();
    const gapsMs: number[] = [];
    let lastMs = 0;
    for (let streams = 1; streams <= 30; streams += 1) {
      await scene.until(() => bob.streams === streams);
      const nowMs = scene.clock.monotonicMs();
      if (streams > 1) gapsMs.push(nowMs - lastMs);
      lastMs = nowMs;
    }
    // A round itself, and how often is looked, take some milliseconds.
    expect(Math.min(...gapsMs)).toBeGreaterThanOrEqual(500);
    expect(Math.max(...gapsMs)).toBeLessThan(1_600);
    expect(Math.max(...gapsMs) - Math.min(...gapsMs)).toBeGreaterThan(300);
  });
});

describe('rounds with several peers', () => {
  it('go on beside that with one that has a huge backlog, and with one that says nothing', async () => {
    scene = await Scene.start();
    const { peer: bob, docs: backlog } = await scene.join('bob', 1_500);
    const { peer: mute } = await scene.join('mute', 10);
    bob.slowMs = 100;
    mute.slowMs = patienceMs;
    await bob.network.start();
    await mute.network.start();
    await scene.until(() => bob.open === 1 && mute.open === 1);
    const { peer: carol, docs: few } = await scene.join('carol', 5);
    await carol.network.start();
    const startMs = scene.clock.monotonicMs();
    await scene.until(() => scene.store.lacksOf(few) === 0);
    expect(scene.clock.monotonicMs() - startMs).toBeLessThan(200);
    expect(bob.open).toBe(1);
    expect(scene.store.lacksOf(backlog)).toBeGreaterThan(500);
    // What carol writes later comes as soon, and what is left of the backlog as well.
    const later = await scene.run(carol.store.fill('later', 5));
    scene.worker.requestDocuments(carol.id, later);
    const askedMs = scene.clock.monotonicMs();
    await scene.until(() => scene.store.lacksOf(later) === 0);
    expect(scene.clock.monotonicMs() - askedMs).toBeLessThan(200);
    expect(scene.store.lacksOf(backlog)).toBeGreaterThan(500);
    await scene.until(() => bob.open === 0);
    expect(scene.store.lacksOf(backlog)).toBe(0);
    expect([bob.streams, bob.openMost]).toEqual([1, 1]);
  });

  it('are four at once at the most, and the others have their turn when one of those is over', async () => {
    scene = await Scene.start();
    const peers: Peer[] = [];
    const docs: DocId[] = [];
    for (const name of ['a', 'b', 'c', 'd', 'e', 'f']) {
      const joined = await scene.join(name, 5);
      joined.peer.slowMs = 200;
      peers.push(joined.peer);
      docs.push(...joined.docs);
      await joined.peer.network.start();
    }
    let most = 0;
    await scene.until(() => {
      most = Math.max(
        most,
        peers.reduce((sum, { open }) => sum + open, 0),
      );
      return scene.store.lacksOf(docs) === 0;
    });
    expect(most).toBe(4);
  });
});

describe('what is counted of a round', () => {
  /** The peer ends its side when the round is over. */
  const endBytes = endFrame().length;

  it('is its bytes, its comparisons and the documents that differed, by kind and end, and the records it brought', async () => {
    scene = await Scene.start();
    const { peer: bob, docs } = await scene.join('bob', 40);
    await bob.network.start();
    await scene.until(() => scene.rounds('complete') === 1);
    await scene.clock.advance(100);
    expect(scene.store.lacksOf(docs)).toBe(0);
    // The feed cannot be followed from nowhere: a question about it, and one about the ranges of all slots.
    const first = scene.tallyOf('feed');
    expect(first).toEqual({ rounds: 1, bytes: bob.bytes - endBytes, comparisons: 2, documents: 40 });
    expect(scene.metrics.value('anabranch_sync_records_total')).toBe(40);

    let before = bob.bytes;
    const late = await scene.run(bob.store.fill('late', 3));
    scene.worker.requestDocuments(bob.id, late);
    await scene.until(() => scene.rounds('complete') === 2);
    await scene.clock.advance(100);
    expect(scene.tallyOf('gaps')).toEqual({
      rounds: 1,
      bytes: bob.bytes - before - endBytes,
      comparisons: 0,
      documents: 0,
    });
    expect(scene.metrics.value('anabranch_sync_records_total')).toBe(43);

    before = bob.bytes;
    scene.slotsChanged();
    await scene.until(() => scene.rounds('complete') === 3);
    await scene.clock.advance(100);
    // The feed tells of three documents, which are here by now.
    expect(scene.tallyOf('ranges')).toEqual({
      rounds: 1,
      bytes: bob.bytes - before - endBytes,
      comparisons: 2,
      documents: 0,
    });
    expect(scene.tallyOf('feed')).toEqual(first);
    expect(scene.metrics.value('anabranch_sync_records_total')).toBe(43);
  });

  it('is what it did until it failed, under the reason of that', async () => {
    scene = await Scene.start();
    const { peer: bob, docs } = await scene.join('bob', 40);
    bob.breaksOffAfter = 2;
    await bob.network.start();
    await scene.until(() => scene.rounds('stream_failed') === 1);
    const failed = scene.tallyOf('feed', 'stream_failed');
    expect(failed.rounds).toBe(1);
    expect(failed.bytes).toBeGreaterThan(0);
    expect(failed.comparisons).toBeGreaterThan(0);
    expect(scene.tallyOf('feed').rounds).toBe(0);
    bob.breaksOffAfter = Number.POSITIVE_INFINITY;
    await scene.until(() => scene.store.lacksOf(docs) === 0);
    await scene.until(() => scene.rounds('complete') === 1);
    // It compares everything after a failure.
    expect(scene.tallyOf('ranges')).toMatchObject({ rounds: 1, documents: 40 });
  });
});
