import { toBase32 } from '../../crdt/digest.ts';
import type { NodeId, PeerId, VersionId } from '../../crdt/ids.ts';
import type { Content } from '../../crdt/version.ts';
import { MemoryBlobStore } from '../../src/adapters/memory/blob-store.ts';
import { VirtualClock } from '../../src/adapters/memory/clock.ts';
import { MemoryKv } from '../../src/adapters/memory/kv.ts';
import { MemoryLog } from '../../src/adapters/memory/log.ts';
import { MemoryMetrics } from '../../src/adapters/memory/metrics.ts';
import { MemoryHub, type MemoryNetwork } from '../../src/adapters/memory/network.ts';
import { SeededRandom } from '../../src/adapters/memory/random.ts';
import type { Outcome } from '../../src/node/api.ts';
import { ContentPlane, type ContentPlaneOptions, type ContentSubject } from '../../src/node/content/content-plane.ts';
import { MeshError } from '../../src/ports/mesh-error.ts';

/** How long, in virtual time, anything a test waits for may take. */
const patienceMs = 600_000;

/** A content plane on in-memory adapters, with all a test wants to look at. */
export interface ContentNode {
  readonly name: string;
  readonly peer: PeerId;
  readonly network: MemoryNetwork;
  readonly kv: MemoryKv;
  readonly blobs: MemoryBlobStore;
  readonly log: MemoryLog;
  readonly metrics: MemoryMetrics;
  readonly plane: ContentPlane;
  /** What `onStored` told of, in order. */
  readonly stored: ContentSubject[];
}

/** The disk of an earlier life. */
export type Disk = Partial<Pick<ContentNode, 'kv' | 'blobs'>>;

/** Content planes on one virtual clock: scenarios read as scripts. */
export class ContentMesh {
  readonly clock = new VirtualClock();
  readonly hub = new MemoryHub({ clock: this.clock });
  readonly random: SeededRandom;

  constructor(seed = 'content') {
    this.random = new SeededRandom(seed);
  }

  /** Starts a node whose holders are all it is connected to, unless the options say otherwise. */
  async start(name: string, disk: Disk = {}, options: Partial<ContentPlaneOptions> = {}): Promise<ContentNode> {
    const peer = name as PeerId;
    const network = this.hub.join(peer);
    const kv = disk.kv ?? new MemoryKv(this.clock, { name, flushDelayMs: 1 });
    const blobs = disk.blobs ?? new MemoryBlobStore();
    const log = new MemoryLog();
    const metrics = new MemoryMetrics();
    const random = this.random.split(`${name}:${this.clock.monotonicMs()}`);
    const plane = new ContentPlane(
      { kv, blobs, network, clock: this.clock, random, log, metrics },
      { holdersOf: () => network.connectedPeers(), peerOf: () => undefined, shouldHold: () => true, ...options },
    );
    const stored: ContentSubject[] = [];
    await this.clock.run(plane.start(), patienceMs);
    plane.onStored((subject) => stored.push(subject));
    await network.start();
    await this.clock.advance(10);
    return { name, peer, network, kv, blobs, log, metrics, plane, stored };
  }

  /** Ends a node in an orderly way and hands back its disk. */
  async stop(node: ContentNode): Promise<Disk> {
    await this.clock.run(node.plane.stop(), patienceMs);
    await node.network.stop();
    return { kv: node.kv.reopen(), blobs: node.blobs.reopen() };
  }

  /** So many bytes that look random and are the same in every run. */
  bytes(length: number): Uint8Array {
    const words = new Uint32Array(Math.ceil(length / 4));
    let state = (this.random.fraction() * 2 ** 32) | 1;
    for (let index = 0; index < words.length; index++) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      words[index] = state;
    }
    return new Uint8Array(words.buffer, 0, length);
  }

  run<T>(promise: Promise<T>): Promise<T> {
    return this.clock.run(promise, patienceMs);
  }

  until(condition: () => boolean): Promise<void> {
    return this.clock.runUntil(condition, patienceMs);
  }

  /** Takes a body in and keeps it. */
  async put(node: ContentNode, body: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<Content> {
    const staged = await this.run(node.plane.ingest(body, 'files'));
    await this.run(node.kv.transact((transaction) => node.plane.keep(transaction, staged)));
    staged.release(true);
    node.plane.kick();
    return staged.content;
  }

  /** Has a node want a content for a version of that name. */
  async want(node: ContentNode, content: Content, version = 'v1'): Promise<void> {
    await this.run(node.kv.transact((transaction) => node.plane.want(transaction, content, subjectNamed(version))));
    node.plane.kick();
  }

  /** Reads a content, or a range of it, to the end. */
  async read(node: ContentNode, content: Content, range?: { start: number; end: number }): Promise<Uint8Array> {
    const opened = await this.run(node.plane.open(content, { range }));
    if (!opened.ok) throw new Error(`${opened.error.code}: ${opened.error.message}`);
    return this.run(joined(opened.value));
  }

  open(node: ContentNode, content: Content): Promise<Outcome<AsyncIterable<Uint8Array>>> {
    return this.run(node.plane.open(content));
  }
}

/** The subject of a version; its id follows from the name. */
export function subjectNamed(name: string): ContentSubject {
  const id = new Uint8Array(32);
  id.set(new TextEncoder().encode(name).subarray(0, 32));
  return { ns: 'files', key: name, version: toBase32(id) as VersionId, origin: 'origin' as NodeId };
}

/** Throws when two long runs of bytes differ, without printing them. */
export function expectSame(actual: Uint8Array, expected: Uint8Array): void {
  if (Buffer.compare(actual, expected) !== 0)
    throw new Error(`${actual.length} bytes differ from the ${expected.length} expected`);
}

/** Everything a stream yields, as one. */
export async function joined(stream: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const part of stream) parts.push(part);
  return new Uint8Array(Buffer.concat(parts));
}

/** The bytes cut into pieces of that size. */
export function* pieces(bytes: Uint8Array, size: number): Generator<Uint8Array> {
  for (let start = 0; start < bytes.length; start += size) yield bytes.subarray(start, start + size);
}

/** Has the node's disk find no room for one transaction from now, counted from 1. Tells how many there were. */
export function fillDiskAt({ kv }: ContentNode, nth: number): () => number {
  const transact = kv.transact.bind(kv);
  let transactions = 0;
  kv.transact = (change) => {
    transactions += 1;
    return transactions === nth ? Promise.reject(new MeshError('disk_full', 'no room')) : transact(change);
  };
  return () => transactions;
}
