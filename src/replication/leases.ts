import { readUint32, writeUint32 } from '../../crdt/big-endian.ts';
import type { BlobHash, NodeId } from '../../crdt/ids.ts';
import type { Clock } from '../ports/clock.ts';
import type { Kv, KvTransaction } from '../ports/kv.ts';
import type { Log } from '../ports/log.ts';
import { MeshError } from '../ports/mesh-error.ts';
import { firstHash, leaseKey, leaseRange, nodeOfKey } from './storage-keys.ts';

/** Leases that run at once; past it none is given, and who asks tries again. */
export const leasesMax = 65_536;
/** How often those that have run out are removed from the disk. */
const sweepEveryMs = 30_000;
/** Rows removed in one transaction. */
const sweptPerTurnMax = 1_024;

/**
 * The promises of this node not to drop a content, each given to a node that may drop its own copy on the strength of
 * it. A lease counts from the moment it is asked for within its transaction, which is flushed before the answer goes out.
 * How much of it was over when the node stopped is not known when it starts, for no clock counts meanwhile: one that is
 * read back runs its whole length again.
 */
export class Leases {
  readonly #kv: Kv;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #untilMs = new Map<BlobHash, Map<NodeId, number>>();
  #count = 0;
  #cancelTimer: (() => void) | undefined;
  #stopped = false;

  constructor(dependencies: { readonly kv: Kv; readonly clock: Clock; readonly log: Log }) {
    this.#kv = dependencies.kv;
    this.#clock = dependencies.clock;
    this.#log = dependencies.log;
  }

  /** Takes up the leases of an earlier life; before anything may be dropped. */
  start(): void {
    this.#stopped = false;
    const nowMs = this.#clock.monotonicMs();
    for (const [key, row] of this.#kv.range(leaseRange)) {
      this.#remember(firstHash<BlobHash>(key), nodeOfKey(key), nowMs + lengthOf(row));
    }
    this.#planSweep();
  }

  stop(): void {
    this.#stopped = true;
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
  }

  /** Leases that run, or are not removed yet. */
  get count(): number {
    return this.#count;
  }

  /**
   * Gives a lease in the caller's transaction. False when there are too many; one that runs longer stays as it is. When
   * the transaction fails, the content stays bound, which does no harm, but nothing was promised.
   */
  grant(transaction: KvTransaction, manifest: BlobHash, to: NodeId, lengthMs: number): boolean {
    const untilMs = this.#clock.monotonicMs() + lengthMs;
    const running = this.#untilMs.get(manifest)?.get(to);
    if (running === undefined && this.#count >= leasesMax) return false;
    const key = leaseKey(manifest, to);
    const row = transaction.get(key);
    // What is remembered may be of a transaction that failed: what a restart reads back must last as long, too.
    const isWritten = row !== undefined && lengthOf(row) >= lengthMs;
    if (running !== undefined && running >= untilMs && isWritten) return true;
    transaction.put(key, lengthRow(lengthMs));
    this.#remember(manifest, to, Math.max(running ?? untilMs, untilMs));
    this.#planSweep();
    return true;
  }

  /** True while this node is bound to keep a content, also by a lease whose transaction is not over. */
  isBound(manifest: BlobHash): boolean {
    const nowMs = this.#clock.monotonicMs();
    for (const untilMs of this.#untilMs.get(manifest)?.values() ?? []) if (untilMs > nowMs) return true;
    return false;
  }

  #remember(manifest: BlobHash, to: NodeId, untilMs: number): void {
    const known = this.#untilMs.get(manifest) ?? new Map<NodeId, number>();
    if (!known.has(to)) this.#count += 1;
    known.set(to, untilMs);
    this.#untilMs.set(manifest, known);
  }

  #planSweep(): void {
    if (this.#stopped || this.#cancelTimer !== undefined || this.#count === 0) return;
    this.#cancelTimer = this.#clock.setTimer(sweepEveryMs, () => {
      this.#cancelTimer = undefined;
      this.#sweep()
        .then(() => this.#planSweep())
        .catch((error: unknown) => {
          if (!(error instanceof MeshError) || error.code !== 'shutting_down') {
            this.#log.warn('leases:not_swept', { error });
            this.#planSweep();
          }
        });
    });
  }

  async #sweep(): Promise<void> {
    for (let isDone = false; !isDone; ) {
      const nowMs = this.#clock.monotonicMs();
      isDone = await this.#kv.transact((transaction) => {
        const over: (readonly [BlobHash, NodeId])[] = [];
        for (const [manifest, nodes] of this.#untilMs) {
          for (const [node, untilMs] of nodes) if (untilMs <= nowMs) over.push([manifest, node]);
          if (over.length >= sweptPerTurnMax) break;
        }
        for (const [manifest, node] of over) {
          transaction.delete(leaseKey(manifest, node));
          this.#forget(manifest, node);
        }
        return over.length < sweptPerTurnMax;
      });
    }
  }

  #forget(manifest: BlobHash, node: NodeId): void {
    const nodes = this.#untilMs.get(manifest);
    if (nodes?.delete(node) === true) this.#count -= 1;
    if (nodes?.size === 0) this.#untilMs.delete(manifest);
  }
}

/** For how long the lease was given (u32, milliseconds). */
function lengthRow(lengthMs: number): Uint8Array {
  const row = new Uint8Array(4);
  writeUint32(row, Math.ceil(lengthMs), 0);
  return row;
}

function lengthOf(row: Uint8Array): number {
  return readUint32(row, 0);
}
