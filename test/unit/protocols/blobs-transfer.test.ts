import { describe, expect, it } from 'vitest';
import { blobHashOf } from '../../../crdt/digest.ts';
import type { BlobHash, PeerId } from '../../../crdt/ids.ts';
import { BufferPool } from '../../../protocols/blobs/buffer-pool.ts';
import { BlobFetcher } from '../../../protocols/blobs/fetcher.ts';
import { HolderGroup } from '../../../protocols/blobs/holder-group.ts';
import { blobsProtocol } from '../../../protocols/blobs/limits.ts';
import { decodeWant, encodeWant } from '../../../protocols/blobs/messages.ts';
import { type BlobServerDependencies, serveBlobs } from '../../../protocols/blobs/server.ts';
import { Channel } from '../../../protocols/wire/channel.ts';
import { VirtualClock } from '../../../src/adapters/memory/clock.ts';
import { MemoryLog } from '../../../src/adapters/memory/log.ts';
import { MemoryMetrics } from '../../../src/adapters/memory/metrics.ts';
import { MemoryHub, type MemoryNetwork } from '../../../src/adapters/memory/network.ts';
import { SeededRandom } from '../../../src/adapters/memory/random.ts';

const kibibyte = 1024;
const patienceMs = 600_000;
const me = 'me' as PeerId;

/** What a scripted holder does with the hashes of each want message. */
type Script = (channel: Channel, hashes: readonly BlobHash[]) => Promise<void>;

/** One node that fetches, and holders honest and otherwise, on virtual time. */
class Scene {
  readonly clock = new VirtualClock();
  readonly hub = new MemoryHub({ clock: this.clock });
  readonly random = new SeededRandom('transfer');
  readonly log = new MemoryLog();
  readonly metrics = new MemoryMetrics();
  readonly stored = new Map<BlobHash, Uint8Array>();
  readonly network: MemoryNetwork;
  readonly fetcher: BlobFetcher;
  room: () => Promise<void> | undefined = () => undefined;
  #blobs = 0;

  constructor() {
    this.network = this.hub.join(me);
    this.fetcher = new BlobFetcher({
      network: this.network,
      clock: this.clock,
      random: this.random,
      log: this.log,
      metrics: this.metrics,
      store: async (hash, bytes) => {
        this.stored.set(hash, bytes);
      },
      room: () => this.room(),
    });
  }

  static async start(): Promise<Scene> {
    const scene = new Scene();
    await scene.network.start();
    return scene;
  }

  blob(size: number): { hash: BlobHash; bytes: Uint8Array; sizeBytes: number } {
    const bytes = new Uint8Array(size).fill(this.#blobs);
    bytes.set(new TextEncoder().encode(`blob ${this.#blobs++}`).subarray(0, size));
    return { hash: blobHashOf(bytes), bytes, sizeBytes: size };
  }

  async honest(name: string, blobs: readonly { hash: BlobHash; bytes: Uint8Array }[]): Promise<{ served: BlobHash[] }> {
    const served: BlobHash[] = [];
    await this.#join(name, (channel, hashes) => {
      for (const hash of hashes) if (blobs.some((blob) => blob.hash === hash)) served.push(hash);
      return send(
        channel,
        hashes.map((hash) => blobs.find((blob) => blob.hash === hash)?.bytes),
      );
    });
    return { served };
  }

  async scripted(name: string, script: Script): Promise<void> {
    await this.#join(name, script);
  }

  group(...names: string[]): HolderGroup {
    return new HolderGroup(() => names as PeerId[]);
  }

  run<T>(promise: Promise<T>): Promise<T> {
    return this.clock.run(promise, patienceMs);
  }

  async #join(name: string, script: Script): Promise<void> {
    const network = this.hub.join(name as PeerId);
    network.handle(blobsProtocol, async (stream) => {
      const channel = new Channel(stream, { clock: this.clock });
      for (let message = await channel.receive(); message !== null; message = await channel.receive()) {
        const hashes = decodeWant(message);
        if (hashes.ok) await script(channel, hashes.value);
      }
      await channel.end();
    });
    await network.start();
    await this.clock.advance(5);
  }
}

async function send(channel: Channel, answers: readonly (Uint8Array | undefined)[]): Promise<void> {
  for (const bytes of answers) {
    const message = new Uint8Array(bytes === undefined ? 1 : 5 + bytes.length);
    if (bytes !== undefined) {
      message[0] = 1;
      new DataView(message.buffer).setUint32(1, bytes.length);
      message.set(bytes, 5);
    }
    for (let start = 0; start < message.length; start += 200 * kibibyte) {
      await channel.send(message.slice(start, start + 200 * kibibyte));
    }
  }
}

describe('fetching blobs', () => {
  it('verifies and stores what an honest holder sends, many wants at a time', async () => {
    const scene = await Scene.start();
    const blobs = Array.from({ length: 300 }, (_, index) => scene.blob(1 + index * 100));
    await scene.honest('alice', blobs);
    const holders = scene.group('alice');
    const fetched = await scene.run(Promise.all(blobs.map((blob) => scene.fetcher.fetch(blob, { holders }))));
    for (const [index, blob] of blobs.entries()) expect(fetched[index]?.bytes).toEqual(blob.bytes);
    expect(scene.stored.size).toBe(300);
    expect(scene.clock.monotonicMs()).toBeLessThan(60);
  });

  it('shares one transfer among all who want the same blob', async () => {
    const scene = await Scene.start();
    const blob = scene.blob(1_000);
    const { served } = await scene.honest('alice', [blob]);
    const holders = scene.group('alice');
    await scene.run(Promise.all([1, 2, 3].map(() => scene.fetcher.fetch(blob, { holders }))));
    expect(served).toEqual([blob.hash]);
  });

  it('uses the buffer of a stored blob again, unless somebody wanted its bytes', async () => {
    const scene = await Scene.start();
    const [first, second, third] = [scene.blob(100_000), scene.blob(100_000), scene.blob(100_000)] as const;
    await scene.honest('alice', [first, second, third]);
    const holders = scene.group('alice');
    const fetch = (blob: typeof first, storeOnly: boolean) =>
      scene.run(scene.fetcher.fetch(blob, { holders, storeOnly }));
    await Promise.all([fetch(first, true), fetch(first, false)]);
    await fetch(second, true);
    await fetch(third, true);
    // The test's store keeps the very bytes it was handed.
    const buffers = [first, second, third].map(({ hash }) => scene.stored.get(hash)?.buffer);
    expect(buffers[2]).toBe(buffers[1]);
    expect(scene.stored.get(first.hash)).toEqual(first.bytes);
  });

  it('asks the next holder when one lacks the blob, and says so when all do', async () => {
    const scene = await Scene.start();
    const blob = scene.blob(1_000);
    await scene.honest('empty', []);
    await scene.honest('full', [blob]);
    const options = { holders: scene.group('empty', 'full') };
    expect((await scene.run(scene.fetcher.fetch(blob, options)))?.bytes).toEqual(blob.bytes);
    expect(await scene.run(scene.fetcher.fetch(scene.blob(10), options))).toBeUndefined();
  });

  const hostile: Record<string, Script> = {
    'wrong bytes': (channel, hashes) =>
      send(
        channel,
        hashes.map(() => Uint8Array.of(6, 6, 6)),
      ),
    'an oversized blob': (channel) => channel.send(Uint8Array.of(1, 0xff, 0xff, 0xff, 0xff)),
    'an unknown answer': (channel) => channel.send(Uint8Array.of(9)),
    'more answers than were asked': (channel, hashes) => channel.send(new Uint8Array(hashes.length + 1)),
    'endless bytes': async (channel) => {
      for (;;) await channel.send(new Uint8Array(100 * kibibyte).fill(1));
    },
  };

  for (const [name, script] of Object.entries(hostile)) {
    it(`stores nothing of a holder that sends ${name}, holds it against the holder, and asks another`, async () => {
      const scene = await Scene.start();
      const blob = scene.blob(300 * kibibyte);
      await scene.scripted('mallory', script);
      await scene.honest('alice', [blob]);
      const holders = scene.group('mallory', 'alice');
      const before = scene.metrics.value('anabranch_blobs_holder_failures_total', { code: 'protocol_violation' });
      expect((await scene.run(scene.fetcher.fetch(blob, { holders })))?.bytes).toEqual(blob.bytes);
      expect([...scene.stored.keys()]).toEqual([blob.hash]);
      expect(scene.metrics.value('anabranch_blobs_holder_failures_total', { code: 'protocol_violation' })).toBe(
        before + 1,
      );
      expect(scene.log.linesOf('blobs:holder_faulted')).toMatchObject([{ level: 'warn', fields: { peer: 'mallory' } }]);
      // It is left alone from now on, also when it is the only one and connects afresh.
      scene.fetcher.peerConnected('mallory' as PeerId);
      expect(await scene.run(scene.fetcher.fetch(scene.blob(5), { holders: scene.group('mallory') }))).toBeUndefined();
      expect(scene.log.linesOf('blobs:holder_faulted').length).toBe(1);
    });
  }

  it('gives a silent holder up after a few seconds, without calling it hostile', async () => {
    const scene = await Scene.start();
    const blob = scene.blob(1_000);
    await scene.scripted('silent', () => new Promise(() => undefined));
    expect(await scene.run(scene.fetcher.fetch(blob, { holders: scene.group('silent') }))).toBeUndefined();
    expect(scene.clock.monotonicMs()).toBeLessThan(8_000);
    expect(scene.log.linesOf('blobs:holder_faulted')).toEqual([]);
  });

  it('gives up a holder that drips bytes to keep a want alive', async () => {
    const scene = await Scene.start();
    const blob = scene.blob(500 * kibibyte);
    await scene.scripted('dripping', async (channel) => {
      const header = Uint8Array.of(1, 0, 7, 0xd0, 0);
      await channel.send(header);
      for (;;) {
        await channel.send(Uint8Array.of(0));
        await scene.clock.sleep(100);
      }
    });
    expect(await scene.run(scene.fetcher.fetch(blob, { holders: scene.group('dripping') }))).toBeUndefined();
    expect(scene.clock.monotonicMs()).toBeLessThan(12_000);
  });

  it('asks an idle holder for what a slow one has owed for long, and takes whichever comes first', async () => {
    const scene = await Scene.start();
    const blob = scene.blob(100 * kibibyte);
    await scene.scripted('slow', async (channel, hashes) => {
      const answer = new Uint8Array(5 + blob.bytes.length);
      answer.set(Uint8Array.of(1, 0, 1, 0x90, 0));
      answer.set(blob.bytes, 5);
      expect(hashes).toEqual([blob.hash]);
      for (let start = 0; start < answer.length; start += 4 * kibibyte) {
        await scene.clock.sleep(1_000);
        await channel.send(answer.slice(start, start + 4 * kibibyte));
      }
    });
    await scene.honest('quick', [blob]);
    const fetching = scene.fetcher.fetch(blob, { holders: scene.group('slow', 'quick') });
    expect((await scene.run(fetching))?.bytes).toEqual(blob.bytes);
    expect(scene.clock.monotonicMs()).toBeLessThan(5_000);
    await scene.clock.advance(60_000);
    expect(scene.log.linesOf('blobs:holder_faulted')).toEqual([]);
  });

  it('takes no more from a holder while storage is behind, and does not blame it', async () => {
    const scene = await Scene.start();
    const blobs = Array.from({ length: 40 }, () => scene.blob(500 * kibibyte));
    const room = Promise.withResolvers<void>();
    scene.room = () => room.promise;
    await scene.honest('alice', blobs);
    const fetching = Promise.all(blobs.map((blob) => scene.fetcher.fetch(blob, { holders: scene.group('alice') })));
    await scene.clock.advance(20_000);
    expect(scene.stored.size).toBeLessThan(4);
    room.resolve();
    expect((await scene.run(fetching)).every((fetched) => fetched !== undefined)).toBe(true);
    expect(scene.log.linesOf('blobs:holder_failed')).toEqual([]);
  });

  it('puts urgent blobs before all that is not asked for yet', async () => {
    const scene = await Scene.start();
    const blobs = Array.from({ length: 64 }, () => scene.blob(500 * kibibyte));
    const urgent = scene.blob(500 * kibibyte);
    const { served } = await scene.honest('alice', [...blobs, urgent]);
    const holders = scene.group('alice');
    const all = blobs.map((blob) => scene.fetcher.fetch(blob, { holders }));
    await scene.clock.advance(3);
    await scene.run(scene.fetcher.fetch(urgent, { holders, urgent: true }));
    expect(served.indexOf(urgent.hash)).toBeLessThan(20);
    await scene.run(Promise.all(all));
  });

  it('asks a holder that owed all it might for several blobs at once, and not for each that it answers', async () => {
    const scene = await Scene.start();
    const blobs = Array.from({ length: 60 }, () => scene.blob(200 * kibibyte));
    const asked: number[] = [];
    await scene.scripted('alice', async (channel, hashes) => {
      asked.push(hashes.length);
      for (const hash of hashes) {
        await scene.clock.sleep(1);
        await send(channel, [blobs.find((blob) => blob.hash === hash)?.bytes]);
      }
    });
    const holders = scene.group('alice');
    await scene.run(Promise.all(blobs.map((blob) => scene.fetcher.fetch(blob, { holders }))));
    expect(scene.stored.size).toBe(60);
    // Four MiB at first, and then about one each time.
    expect(asked[0]).toBe(20);
    expect(asked.length).toBeLessThan(12);
  });

  it('asks who comes at once for what had found its holders busy', async () => {
    const scene = await Scene.start();
    const blobs = Array.from({ length: 30 }, () => scene.blob(200 * kibibyte));
    await scene.scripted('silent', async () => undefined);
    const { served } = await scene.honest('bob', blobs);
    const names = ['silent'];
    const holders = new HolderGroup(() => names as PeerId[]);
    for (const blob of blobs) void scene.fetcher.fetch(blob, { holders });
    await scene.clock.advance(100);
    expect(served).toEqual([]);
    names.push('bob');
    scene.fetcher.peerConnected('bob' as PeerId);
    await scene.clock.advance(300);
    expect(served).toContain(blobs.at(-1)?.hash);
    scene.fetcher.close();
  });

  it('lets go of what was aborted, and ends quiet sessions', async () => {
    const scene = await Scene.start();
    const blob = scene.blob(1_000);
    await scene.honest('alice', [blob]);
    const abort = new AbortController();
    const holders = scene.group('alice');
    const fetching = scene.fetcher.fetch(blob, { holders, signal: abort.signal });
    abort.abort();
    expect(await scene.run(fetching)).toBeUndefined();
    await scene.run(scene.fetcher.fetch(blob, { holders }));
    await scene.clock.advance(60_000);
    expect(scene.clock.pendingTimers).toBe(0);
  });
});

describe('serving blobs', () => {
  /** A server with these blobs, and a raw channel to it. */
  async function serve(
    blobs: readonly { hash: BlobHash; bytes: Uint8Array }[],
    changes: Partial<BlobServerDependencies> = {},
  ) {
    const scene = await Scene.start();
    const server = scene.hub.join('server' as PeerId);
    let reads = 0;
    let slots = 4;
    const ended = Promise.withResolvers<unknown>();
    server.handle(blobsProtocol, async (stream) => {
      const serving = serveBlobs(stream, {
        clock: scene.clock,
        read: async (hash) => {
          reads += 1;
          return blobs.find((blob) => blob.hash === hash)?.bytes;
        },
        release: () => undefined,
        tryReadAhead: () => slots > 0 && slots-- > 0,
        endReadAhead: () => {
          slots += 1;
        },
        served: () => undefined,
        ...changes,
      });
      serving.then(() => ended.resolve(undefined), ended.resolve);
      await serving;
    });
    await server.start();
    await scene.clock.advance(5);
    const channel = new Channel(await scene.run(scene.network.open(server.localPeer, blobsProtocol)), {
      clock: scene.clock,
    });
    return { scene, channel, ended: ended.promise, reads: () => reads, slots: () => slots };
  }

  it('gives memory back when nobody reads it any more, and not before', async () => {
    const scene = new Scene();
    const blobs = Array.from({ length: 60 }, () => scene.blob(500 * kibibyte));
    const pool = new BufferPool();
    const used = new Set<ArrayBuffer>();
    const { scene: fetching } = await serve(blobs, {
      read: async (hash) => {
        const blob = blobs.find((each) => each.hash === hash);
        if (blob === undefined) return undefined;
        const bytes = pool.take(blob.sizeBytes);
        bytes.set(blob.bytes);
        used.add(bytes.buffer);
        return bytes;
      },
      release: (bytes) => {
        // What still reads it from here on sends what matches no hash.
        bytes.fill(0xff);
        pool.give(bytes);
      },
    });
    const holders = fetching.group('server');
    const fetched = await fetching.run(Promise.all(blobs.map((blob) => fetching.fetcher.fetch(blob, { holders }))));
    expect(fetched.map((blob) => blob?.sizeBytes)).toEqual(blobs.map(({ sizeBytes }) => sizeBytes));
    // One that is sent, four read ahead, and what is on its way.
    expect(used.size).toBeLessThanOrEqual(12);
  });

  it('does not give back what shares a message with others, before that has left', async () => {
    const scene = new Scene();
    const blobs = Array.from({ length: 5 }, () => scene.blob(20 * kibibyte));
    let released = 0;
    const serving = await serve(blobs, {
      release: () => {
        released += 1;
      },
    });
    const holders = serving.scene.group('server');
    const { fetcher } = serving.scene;
    await serving.scene.run(Promise.all(blobs.map((blob) => fetcher.fetch(blob, { holders }))));
    expect(released).toBe(0);
  });

  it('reads no further ahead than its bounds while the peer does not take what it asked for', async () => {
    const scene = new Scene();
    const blobs = Array.from({ length: 100 }, () => scene.blob(500 * kibibyte));
    const serving = await serve(blobs);
    await serving.channel.send(encodeWant(blobs.map(({ hash }) => hash)));
    await serving.scene.clock.advance(20_000);
    // A window of 1 MiB, one blob being sent and four slots.
    expect(serving.reads()).toBeLessThanOrEqual(8);
    await serving.scene.clock.advance(60_000);
    expect(await serving.scene.run(serving.ended)).toMatchObject({ code: 'timeout' });
    expect(serving.slots()).toBe(4);
  });

  it('refuses a malformed want and resets the stream', async () => {
    const { scene, channel, ended } = await serve([]);
    await channel.send(Uint8Array.of(1, 2, 3));
    expect(await scene.run(ended)).toMatchObject({ code: 'protocol_violation' });
    await expect(scene.run(channel.receive())).rejects.toMatchObject({ code: 'stream_failed' });
  });

  it('gives its slots back when the peer goes in the middle', async () => {
    const scene = new Scene();
    const blobs = Array.from({ length: 20 }, () => scene.blob(500 * kibibyte));
    const serving = await serve(blobs);
    await serving.channel.send(encodeWant(blobs.map(({ hash }) => hash)));
    await serving.scene.clock.advance(5);
    serving.channel.reset(new Error('gone'));
    await serving.scene.run(serving.ended);
    expect(serving.slots()).toBe(4);
  });

  it('resets the stream when a read fails', async () => {
    const scene = new Scene();
    const failure = new Error('the disk failed');
    const blob = scene.blob(10);
    const serving = await serve([blob], { read: () => Promise.reject(failure) });
    await serving.channel.send(encodeWant([blob.hash]));
    expect(await serving.scene.run(serving.ended)).toBe(failure);
  });
});
