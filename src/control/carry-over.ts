import type { CarryOptions, CarryOutcome } from '../../protocols/quorum/carry.ts';
import type { Clock } from '../ports/clock.ts';
import type { Kv } from '../ports/kv.ts';
import type { Log } from '../ports/log.ts';
import { getSealed, putSealed } from './sealed-rows.ts';
import { carryKey } from './storage-keys.ts';

/** How long to wait before a carry-over that found no majority goes on; it goes on at once when a peer connects. */
const retryDelayMs = 5_000;
/** Registers between two rows of progress: a restart does at most so many again, and those cost a listing only. */
const keptEvery = 4_096;

/** How far the registers have come to the present coordinators. */
export interface CarryStatus {
  /** The epoch they are carried to. */
  readonly epoch: number;
  /** Registers proposed again so far. */
  readonly carried: number;
  /**
   * Registers that are done, of all that this node has voted on by now: what others alone had voted on is added as it is
   * carried. Told from the name that was reached: most names are hashes, and so evenly spread.
   */
  readonly done: number;
  readonly total: number;
  readonly complete: boolean;
}

/** What is kept of a carry-over. */
interface CarryRow extends Pick<CarryStatus, 'epoch' | 'carried' | 'complete'> {
  /** Every register up to this name is done. */
  readonly after: string | null;
}

interface Dependencies {
  readonly kv: Kv;
  readonly clock: Clock;
  readonly log: Log;
  /** The present epoch, and whether this node votes in it. */
  readonly view: () => { readonly epoch: number; readonly votes: boolean };
  /** How many registers this node was ever asked to vote on. */
  readonly registers: () => number;
  readonly carry: (options: CarryOptions) => Promise<CarryOutcome>;
}

/**
 * After the coordinators have changed, every register is to be accepted by a majority of the new ones before they
 * change again. Each coordinator sees to it by itself, since it is proposed to by none: what another has carried
 * costs it no more than a listing. Where it stands is on disk, so a restart goes on.
 */
export class CarryOver {
  readonly #dependencies: Dependencies;
  readonly #stopping = new AbortController();
  #row: CarryRow;
  #running = false;
  #keptAt = 0;
  #cancelTimer: () => void = () => undefined;

  constructor(dependencies: Dependencies) {
    this.#dependencies = dependencies;
    this.#row = readRow(dependencies.kv) ?? founding;
  }

  status(): CarryStatus {
    const { view, registers } = this.#dependencies;
    const { epoch } = view();
    const { carried, complete, after } = this.#rowOf(epoch);
    const total = registers();
    const done = complete ? total : Math.floor(total * shareUpTo(after));
    return { epoch, carried, done, total, complete };
  }

  /** True when this node has seen to it that all registers were carried into the epoch. */
  isComplete(epoch: number): boolean {
    return this.#rowOf(epoch).complete;
  }

  /** Goes on where the carry-over of the present epoch stands, if there is anything left to do. */
  goOn(): void {
    const { epoch, votes } = this.#dependencies.view();
    if (this.#running || this.#stopping.signal.aborted || !votes || this.#rowOf(epoch).complete) return;
    this.#cancelTimer();
    this.#running = true;
    void this.#run(epoch).finally(() => {
      this.#running = false;
      // The coordinators may have changed again meanwhile.
      if (this.#dependencies.view().epoch !== epoch) this.goOn();
    });
  }

  stop(): void {
    this.#cancelTimer();
    this.#stopping.abort();
  }

  async #run(epoch: number): Promise<void> {
    const { clock, log, carry } = this.#dependencies;
    const start = this.#rowOf(epoch);
    this.#row = start;
    this.#keptAt = start.carried;
    try {
      const outcome = await carry({
        signal: this.#stopping.signal,
        after: start.after,
        onProgress: ({ after, carried }) => this.#progressed({ ...start, after, carried: start.carried + carried }),
      });
      const { after, carried } = outcome.progress;
      const complete = outcome.kind === 'complete' && outcome.progress.epoch === epoch;
      this.#row = { epoch, after, carried: start.carried + carried, complete };
      await this.#keep();
      if (complete) return log.info('control:carried', { epoch, registers: this.#row.carried });
      log.debug('control:carry_waits', { epoch, ...outcome });
    } catch (error) {
      if (!this.#stopping.signal.aborted) log.warn('control:carry_failed', { epoch, error });
    }
    // Whether it ends with an error or not, it may end because the node stops.
    if (this.#stopping.signal.aborted) return;
    this.#cancelTimer = clock.setTimer(retryDelayMs, () => this.goOn());
  }

  #progressed(row: CarryRow): void {
    this.#row = row;
    if (row.carried - this.#keptAt < keptEvery) return;
    this.#keptAt = row.carried;
    this.#keep().catch((error: unknown) => this.#dependencies.log.warn('control:carry_not_kept', { error }));
  }

  #rowOf(epoch: number): CarryRow {
    return this.#row.epoch === epoch ? this.#row : { epoch, after: null, carried: 0, complete: epoch === 1 };
  }

  #keep(): Promise<void> {
    const row = this.#row;
    const value = Buffer.from(JSON.stringify(row), 'utf8');
    return this.#dependencies.kv.transact((transaction) => putSealed(transaction, carryKey, value));
  }
}

/** Those who voted first have nothing to take over. */
const founding: CarryRow = { epoch: 1, after: null, carried: 0, complete: true };

function readRow(kv: Kv): CarryRow | undefined {
  const bytes = getSealed(kv, carryKey, 'the progress of the carry-over');
  return bytes === undefined ? undefined : (JSON.parse(Buffer.from(bytes).toString('utf8')) as CarryRow);
}

/** Characters of base32 in the order of names, and how many of a name are looked at: a millionth is close enough. */
const namesAlphabet = '234567abcdefghijklmnopqrstuvwxyz';
const nameCharacters = 4;

/** Which share of all hashes comes before a name; 0 for the start. */
export function shareUpTo(name: string | null): number {
  let share = 0;
  for (let at = 0; at < nameCharacters; at += 1) {
    const place = namesAlphabet.indexOf(name?.[at] ?? '2');
    share += Math.max(0, place) / namesAlphabet.length ** (at + 1);
  }
  return share;
}
