import type { Member } from '../../crdt/genesis.ts';
import type { BlobHash, VersionId } from '../../crdt/ids.ts';
import { type Signer, signerFromSeed } from '../../crdt/signature.ts';
import { type BlobPool, type MemoryBlobSnapshot, MemoryBlobStore } from '../../src/adapters/memory/blob-store.ts';
import type { VirtualClock } from '../../src/adapters/memory/clock.ts';
import { MemoryKv, type MemoryKvSnapshot } from '../../src/adapters/memory/kv.ts';
import type { MemoryMetrics } from '../../src/adapters/memory/metrics.ts';
import type { MemoryNetwork } from '../../src/adapters/memory/network.ts';
import type { Node } from '../../src/node/mesh-node.ts';
import type { KvKey, KvReader } from '../../src/ports/kv.ts';
import { HeldContents, Holdings } from './holdings.ts';
import { MachineClock, type ProcessClock } from './machine-clock.ts';
import type { SimLog } from './sim-log.ts';

/** A node's process while it lives. */
export interface Process {
  readonly life: number;
  readonly node: Node;
  readonly network: MemoryNetwork;
  readonly clock: ProcessClock;
  readonly log: SimLog;
  readonly metrics: MemoryMetrics;
  /** True once `start` has resolved. */
  ready: boolean;
  /** Resolves when its power is cut: nothing else of it ever settles then. */
  readonly died: PromiseWithResolvers<void>;
}

/** A data directory at one moment. */
export interface Backup {
  readonly kv: MemoryKvSnapshot;
  readonly blobs: MemoryBlobSnapshot;
  readonly takenMs: number;
  /** Taken of a node that had been stopped in good order: nothing in it tells a later start that time went back. */
  readonly ofStopped: boolean;
}

/** A member's machine: its disk outlives the processes that run on it. */
export class Machine {
  readonly member: Member;
  readonly keySeed: Uint8Array;
  readonly signer: Signer;
  readonly clock: MachineClock;
  kv: MemoryKv;
  blobs: MemoryBlobStore;
  process: Process | undefined;
  lives = 0;
  paused = false;
  /** When it went on last after standing still, on the clock all share. */
  resumedMs = Number.NEGATIVE_INFINITY;
  /** It had no room for content at some time. */
  hadFullDisk = false;
  /** How often its disk was exchanged, rolled back or emptied. */
  disksBefore = 0;
  /** No process has run since one was stopped in good order. */
  stoppedCleanly = false;
  /** Time added to each flush of the store, in milliseconds. */
  flushLagMs = 0;
  readonly backups: Backup[] = [];
  /** What the store holds now. */
  holdings = new Holdings();
  /** The contents that it calls whole. */
  readonly contents = new HeldContents();
  /** Acknowledged here: this disk must have them until it is rolled back. */
  readonly owed = new Set<VersionId>();
  /** Manifests of contents that came in here with an acknowledged write, and were not dropped since as the rules have it. */
  readonly owedContents = new Set<BlobHash>();
  /** Contents of which some bit was flipped here, at any time. */
  readonly spoiledContents = new Set<BlobHash>();
  /** Its disk went back in time and nothing told it, so it may issue a dot twice. */
  rolledBackUnnoticed = false;

  constructor(
    member: Member,
    keySeed: Uint8Array,
    options: {
      readonly clock: VirtualClock;
      readonly flushDelayMs: () => number;
      /** What other machines' disks hold too. */
      readonly pool: BlobPool;
      readonly observe: (machine: Machine, store: KvReader, keys: readonly KvKey[]) => void;
    },
  ) {
    this.member = member;
    this.keySeed = keySeed;
    this.signer = signerFromSeed(keySeed);
    this.clock = new MachineClock(options.clock);
    this.blobs = new MemoryBlobStore({ pool: options.pool });
    this.kv = new MemoryKv(this.clock, {
      name: member.name,
      flushDelayMs: () => options.flushDelayMs() + this.flushLagMs,
      observe: (store, keys) => options.observe(this, store, keys),
    });
  }

  get name(): string {
    return this.member.name;
  }

  /** Its disk was exchanged, rolled back or emptied at some time. */
  get hadAnotherDisk(): boolean {
    return this.disksBefore > 0;
  }

  /** True when its process is up and takes calls. */
  get isUp(): boolean {
    return this.process?.ready === true && !this.paused;
  }
}
