import { setImmediate as nextTurn } from 'node:timers/promises';
import type { KvTransaction } from '../../ports/kv.ts';
import { MeshError } from '../../ports/mesh-error.ts';
import type { PendingRows, RowReader } from './pending-rows.ts';
import { runChange } from './transaction.ts';
import { WriteOverlay } from './write-overlay.ts';

/** Transactions that share one flush: bounds how long the event loop is held before the write begins. */
const batchTransactionsMax = 1_000;
/** Transactions run before the disk is given the first of them; the rest runs while it works. */
const idleDiskTransactionsMax = 8;
/** Bytes after which a batch is closed: bounds the memory held until the flush. */
const batchBytesMax = 16 * 2 ** 20;
/** Transactions that may wait for the batch before theirs. */
const queuedTransactionsMax = 100_000;

interface Job {
  /** Runs the change on the overlay and returns what settles its caller once the batch is on disk. */
  readonly run: (overlay: WriteOverlay) => (() => void) | undefined;
  readonly reject: (reason: unknown) => void;
}

/** Transactions that were run and are written together. */
interface Batch {
  readonly overlay: WriteOverlay;
  readonly jobs: Job[];
  /** Settles the callers whose change did not throw. */
  readonly settle: (() => void)[];
}

interface Dependencies {
  /** What is committed. It holds the rows of a batch from when `write` resolves with them. */
  readonly base: RowReader;
  /** Puts the rows of a batch on disk, as one; called for one batch after the other, also for one without rows. */
  readonly write: (rows: PendingRows) => Promise<void>;
}

/**
 * Runs transactions one after the other on an overlay of what is committed and has them written together; those that arrive
 * meanwhile run on an overlay of that one. Hence a change that throws leaves no trace and disturbs no other; and when the disk
 * fails, all that share the batch fail, and all that ran on top of it.
 */
export class GroupCommit {
  readonly #dependencies: Dependencies;
  readonly #queue: Job[] = [];
  #filling: Batch | undefined;
  #writing: Batch | undefined;
  #fillScheduled = false;
  #running: Promise<void> | undefined;

  constructor(dependencies: Dependencies) {
    this.#dependencies = dependencies;
  }

  transact<T>(change: (transaction: KvTransaction) => T): Promise<T> {
    if (this.#queue.length >= queuedTransactionsMax) {
      const message = `the disk cannot keep up: ${queuedTransactionsMax} transactions wait for it already`;
      return Promise.reject(new MeshError('io_error', message));
    }
    return new Promise<T>((resolve, reject) => {
      const run = (overlay: WriteOverlay): (() => void) | undefined => {
        try {
          const result = runChange(overlay, change);
          return () => resolve(result);
        } catch (error) {
          reject(error);
          return undefined;
        }
      };
      this.#queue.push({ run, reject });
      if (this.#running === undefined) this.#running = this.#runBatches();
      else if (this.#writing !== undefined) this.#fillSoon();
    });
  }

  /** Resolves when nothing waits and nothing is being written. */
  async idle(): Promise<void> {
    await this.#running;
  }

  /** Runs what arrives while a batch is being written, so that it is ready when the disk is. */
  #fillSoon(): void {
    if (this.#fillScheduled) return;
    this.#fillScheduled = true;
    queueMicrotask(() => {
      this.#fillScheduled = false;
      this.#fill(batchTransactionsMax);
    });
  }

  async #runBatches(): Promise<void> {
    // Lets callers of the same turn share the batch.
    await null;
    while (this.#fill(idleDiskTransactionsMax)) {
      // What follows from these in the same turn, as a vote from the record it is on, shares their flush.
      await nextTurn();
      this.#fill(idleDiskTransactionsMax);
      const batch = this.#filling as Batch;
      this.#filling = undefined;
      this.#writing = batch;
      this.#fillSoon();
      let failure: unknown;
      try {
        await this.#dependencies.write(batch.overlay.rows);
      } catch (error) {
        failure = error;
      }
      this.#writing = undefined;
      if (failure === undefined) this.#written(batch);
      else this.#failed(batch, failure);
    }
    this.#running = undefined;
  }

  /** Runs what waits, as far as the batch has room. True when there is something to write or to settle. */
  #fill(transactionsMax: number): boolean {
    let taken = 0;
    for (const job of this.#queue) {
      this.#filling ??= {
        overlay: new WriteOverlay(this.#writing?.overlay ?? this.#dependencies.base),
        jobs: [],
        settle: [],
      };
      const { overlay, jobs, settle } = this.#filling;
      if (jobs.length >= transactionsMax || overlay.rows.bytes >= batchBytesMax) break;
      taken += 1;
      jobs.push(job);
      const done = job.run(overlay);
      if (done !== undefined) settle.push(done);
    }
    this.#queue.splice(0, taken);
    return this.#filling !== undefined;
  }

  #written(batch: Batch): void {
    this.#filling?.overlay.rebase(this.#dependencies.base);
    for (const done of batch.settle) done();
  }

  /** What ran on top of a batch that failed may have built on its writes, so it fails as well. */
  #failed(batch: Batch, failure: unknown): void {
    const onTop = this.#filling?.jobs ?? [];
    this.#filling = undefined;
    for (const job of [...batch.jobs, ...onTop]) job.reject(failure);
  }
}
