import { blobHashOf } from '../../crdt/digest.ts';
import type { BlobHash, PeerId } from '../../crdt/ids.ts';
import { BufferPool } from '../../protocols/blobs/buffer-pool.ts';
import { BlobFetcher } from '../../protocols/blobs/fetcher.ts';
import { HolderGroup } from '../../protocols/blobs/holder-group.ts';
import { type BlobWant, HolderSession } from '../../protocols/blobs/holder-session.ts';
import { blobsProtocol } from '../../protocols/blobs/limits.ts';
import { serveBlobs } from '../../protocols/blobs/server.ts';
import { MemoryBlobStore } from '../../src/adapters/memory/blob-store.ts';
import { MemoryKv } from '../../src/adapters/memory/kv.ts';
import { MemoryLog } from '../../src/adapters/memory/log.ts';
import { MemoryMetrics } from '../../src/adapters/memory/metrics.ts';
import { SystemRandom } from '../../src/adapters/system/random.ts';
import { ContentStore } from '../../src/node/content/content-store.ts';
import { KvBatcher } from '../../src/node/content/kv-batcher.ts';
import { ReadSlots } from '../../src/node/content/read-slots.ts';
import type { GetOptions } from '../../src/ports/blob-store.ts';
import { clock, type PeerNetwork, runPeer } from './libp2p-peer.ts';

/**
 * A peer process that has every chunk, each read from its disk as often as it is asked for, and serves them; and that
 * fetches chunks from another, which its disk takes at the pace it is told.
 */
export type BlobsCommand =
  | { readonly kind: 'pace'; readonly bytesPerSecond: number }
  /**
   * Fetches so many chunks from the first on: through the node's fetcher, which asks for what it has room for, or on one
   * stream that has asked for all of them before it takes the first byte.
   */
  | {
      readonly kind: 'fetch';
      readonly peer: PeerId;
      readonly by: 'fetcher' | 'session';
      readonly first: number;
      readonly count: number;
    };

export interface BlobsReport {
  /** Chunks that were handed to the peer's stream, whole. */
  readonly served: number;
  /** Chunks that are on the slow disk, each of which matched its hash. */
  readonly taken: number;
}

const chunkBytes = 2 * 1024 * 1024;
const chunks = 192;
const writingMs = 5;

let served = 0;
let taken = 0;
let bytesPerSecond = 0;

const hashes = new Map<BlobHash, number>();
const scratch = new Uint8Array(chunkBytes);
for (let chunk = 0; chunk < chunks; chunk += 1) hashes.set(blobHashOf(scratch.fill(chunk)), chunk);

/** A disk with every chunk on it, that writes others one after the other, at the pace it is told. */
class SlowDisk extends MemoryBlobStore {
  #written: Promise<void> = Promise.resolve();

  override async get(hash: BlobHash, { into }: GetOptions = {}): Promise<Uint8Array | undefined> {
    const chunk = hashes.get(hash);
    const bytes = into?.(chunkBytes) ?? new Uint8Array(chunkBytes);
    return chunk === undefined ? undefined : bytes.fill(chunk);
  }

  override put(hash: BlobHash, bytes: Uint8Array): Promise<void> {
    this.#written = this.#written.then(async () => {
      await timePasses(bytes.length);
      if (blobHashOf(bytes) !== hash) throw new Error('a chunk was changed on its way to the disk');
      taken += 1;
    });
    return this.#written;
  }
}

/** Resolves when so many bytes are written, at a pace that may change meanwhile. */
async function timePasses(bytes: number): Promise<void> {
  let sinceMs = clock.monotonicMs();
  for (let left = bytes; left > 0; ) {
    await clock.sleep(writingMs);
    const nowMs = clock.monotonicMs();
    left -= (bytesPerSecond * (nowMs - sinceMs)) / 1_000;
    sinceMs = nowMs;
  }
}

const metrics = new MemoryMetrics();
const log = new MemoryLog();
const kv = new MemoryKv(clock);
const store = new ContentStore({ kv, batcher: new KvBatcher(kv), blobs: new SlowDisk(), log, metrics });
const slots = new ReadSlots();

/** As a node serves its peers. */
function serve(network: PeerNetwork): void {
  network.handle(blobsProtocol, (stream) =>
    serveBlobs(stream, {
      clock,
      read: (hash) => store.lend(hash),
      release: (blob) => store.giveBack(blob),
      tryReadAhead: () => slots.tryTake(),
      endReadAhead: () => slots.give(),
      served: () => {
        served += 1;
      },
    }),
  );
}

type FetchCommand = Extract<BlobsCommand, { kind: 'fetch' }>;

async function fetchChunks(network: PeerNetwork, { peer, by, first, count }: FetchCommand): Promise<void> {
  const wants = [...hashes.keys()].slice(first, first + count).map((hash) => ({ hash, sizeBytes: chunkBytes }));
  if (by === 'session') return askForAll(network, peer, wants);
  const fetcher = new BlobFetcher({
    network,
    clock,
    random: new SystemRandom(),
    log,
    metrics,
    store: (hash, bytes) => store.put(hash, bytes),
    room: () => store.room(),
  });
  const holders = new HolderGroup(() => [peer]);
  const fetched = wants.map(async (want) => {
    const blob = await fetcher.fetch(want, { holders, storeOnly: true });
    if (blob === undefined) throw new Error('a chunk was not to be had');
    await blob.stored;
  });
  try {
    await Promise.all(fetched);
  } finally {
    fetcher.close();
  }
}

/** Resolves when all are stored; rejects when the holder's stream ends before. */
function askForAll(network: PeerNetwork, peer: PeerId, wants: readonly BlobWant[]): Promise<void> {
  const buffers = new BufferPool();
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let left = wants.length;
  const session = new HolderSession(peer, {
    network,
    clock,
    buffers,
    room: () => store.room(),
    pace: () => undefined,
    onAnswer: ({ hash }, blob) => {
      if (blob === undefined) return reject(new Error('the holder lacks a chunk'));
      store
        .put(hash, blob)
        .then(() => {
          buffers.give(blob);
          left -= 1;
          if (left > 0) return;
          session.end();
          resolve();
        })
        .catch(reject);
    },
    onLatency: () => undefined,
    onThroughput: () => undefined,
    onEnd: (error) => error && reject(error),
  });
  for (const want of wants) session.ask(want);
  return promise;
}

runPeer<BlobsCommand, BlobsReport>({
  setUp: serve,
  obey: (command, network) => {
    if (command.kind === 'fetch') return fetchChunks(network, command);
    bytesPerSecond = command.bytesPerSecond;
  },
  report: () => ({ served, taken }),
});
