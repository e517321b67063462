import { z } from 'zod';
import type { BlobHash } from '../../../crdt/ids.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Kv } from '../../ports/kv.ts';
import type { Log } from '../../ports/log.ts';
import { MeshError } from '../../ports/mesh-error.ts';
import type { Counter, Gauge, Metrics } from '../../ports/metrics.ts';
import { hashedRange, hashOfKey, isCompleteKey, stateKey } from './content-keys.ts';
import type { ContentStore } from './content-store.ts';
import { decodeRow, encodeRow, hashSchema } from './json-rows.ts';
import type { KvBatcher } from './kv-batcher.ts';
import type { Links } from './links.ts';
import type { Pins } from './pins.ts';
import type { PullJobs } from './pull-jobs.ts';
import type { Sweeper } from './sweeper.ts';
import { isWhole } from './whole-check.ts';

export interface ScrubOptions {
  /** How long one look at everything takes, when the rate allows. */
  readonly periodMs: number;
  /** What is read at most for it, in bytes a second. */
  readonly bytesPerSecondMax: number;
}

/** Disks are read through once in two weeks, at a pace that no other reader notices. */
export const scrubDefaults: ScrubOptions = { periodMs: 14 * 24 * 3_600_000, bytesPerSecondMax: 32 * 1024 * 1024 };

/** What was looked at, and what was found. */
export interface ScrubCounts {
  readonly blobs: number;
  readonly bytes: number;
  /** Blobs that no longer matched their name: put aside, and fetched again. */
  readonly damaged: number;
  /** Contents that were called whole and lacked something: wanted again. */
  readonly incomplete: number;
  /** Blobs that nothing needs, left over from what was interrupted: removed. */
  readonly leftovers: number;
}

export interface ScrubStatus extends ScrubOptions {
  /** Where the pass under way is, 0 to 1, and what it has found so far. */
  readonly position: number;
  readonly current: ScrubCounts;
  /** The last pass that saw everything; its end in milliseconds since the epoch, for display. */
  readonly last: (ScrubCounts & { readonly time: number }) | null;
}

export interface ScrubberDependencies {
  readonly kv: Kv;
  readonly batcher: KvBatcher;
  readonly store: ContentStore;
  readonly jobs: PullJobs;
  readonly links: Links;
  readonly pins: Pins;
  readonly sweeper: Pick<Sweeper, 'isReady' | 'removeUnreached'>;
  /** There is a job to be done. */
  readonly onReopened: () => void;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
}

/** Files in the order of their names, rows in the order of their keys. */
type Track = 'files' | 'rows';

interface Item {
  readonly hash: BlobHash;
  readonly kind: 'blob' | 'content';
  readonly sizeBytes: number;
}

const countsSchema = z.strictObject({
  blobs: z.int().nonnegative(),
  bytes: z.int().nonnegative(),
  damaged: z.int().nonnegative(),
  incomplete: z.int().nonnegative(),
  leftovers: z.int().nonnegative(),
});
const stateSchema = z.strictObject({
  v: z.literal(1),
  after: z.strictObject({ files: hashSchema.optional(), rows: hashSchema.optional() }),
  position: z.number().min(0).max(1),
  current: countsSchema,
  last: countsSchema.extend({ time: z.number() }).nullable(),
});

/** Items taken from a track at once. */
const pageMax = 64;
/** Items after which the place is written down at the latest, and the time after which it is. */
const notedItemsMax = 1_024;
const notedEveryMs = 60_000;
/** How long it waits for what is not due yet: long enough for several things to be, and short enough to see new ones. */
const waitMsMin = 10_000;
const waitMsMax = 3_600_000;
/** Shorter debts to the rate are not worth a timer. */
const debtMsMin = 10;
const failedMs = 60_000;

const noCounts: ScrubCounts = { blobs: 0, bytes: 0, damaged: 0, incomplete: 0, leftovers: 0 };

/** One look at everything: where it is, and what it has found. */
class Pass {
  readonly after: { files?: BlobHash | undefined; rows?: BlobHash | undefined } = {};
  /** The part that is done, 0 to 1: names are hashes, so they lie evenly. */
  position = 0;
  counts = noCounts;

  count(change: Partial<ScrubCounts>): void {
    const sum = { ...this.counts };
    for (const [name, amount] of Object.entries(change) as [keyof ScrubCounts, number][]) {
      (sum as Record<keyof ScrubCounts, number>)[name] += amount;
    }
    this.counts = sum;
  }
}

/** When a place is to be looked at, and where a pass is then. */
interface Pace {
  dueMs(place: number): number;
  positionAt(nowMs: number, place: number): number;
}

/** As fast as the rate allows. */
const atOnce: Pace = { dueMs: () => 0, positionAt: (_, place) => place };

/** Evenly, from a place on. */
function evenly(startMs: number, startPlace: number, periodMs: number): Pace {
  return {
    dueMs: (place) => startMs + (place - startPlace) * periodMs,
    positionAt: (nowMs) => Math.min(1, startPlace + (nowMs - startMs) / periodMs),
  };
}

/**
 * Reads everything that is stored here again and again, at a set pace: what has rotted is put aside and wanted again,
 * contents that lack something too, and what nothing needs is removed. The pace follows from the names: a pass is to
 * be as far through the space of all hashes as its time is through the period. Its place survives restarts.
 */
export class Scrubber {
  readonly #dependencies: ScrubberDependencies;
  readonly #options: ScrubOptions;
  readonly #scrubbedBytes: Counter;
  readonly #found: Counter;
  readonly #position: Gauge;
  readonly #stopping = new AbortController();
  #background = new Pass();
  #last: ScrubStatus['last'] = null;
  #onDemand: { readonly pass: Pass; readonly result: Promise<ScrubCounts> } | undefined;
  #running: Promise<void> = Promise.resolve();
  #interrupt = new AbortController();

  constructor(dependencies: ScrubberDependencies, options: ScrubOptions) {
    this.#dependencies = dependencies;
    this.#options = options;
    const { metrics } = dependencies;
    this.#scrubbedBytes = metrics.counter({
      name: 'anabranch_scrub_bytes_total',
      help: 'Bytes of stored content that were read again to see whether they are as they should be.',
    });
    this.#found = metrics.counter({
      name: 'anabranch_scrub_found_total',
      help: 'What the scrub found amiss: damaged blobs, incomplete contents, leftovers.',
      labels: ['kind'],
    });
    this.#position = metrics.gauge({
      name: 'anabranch_scrub_position_ratio',
      help: 'The part of the scrub under way that is done.',
    });
  }

  start(): void {
    const row = this.#dependencies.kv.get(stateKey('scrub'));
    const state = row === undefined ? undefined : decodeRow(stateSchema, row);
    if (state !== undefined) {
      Object.assign(this.#background.after, state.after);
      this.#background.position = state.position;
      this.#background.counts = state.current;
      this.#last = state.last;
    }
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#stopping.abort(new MeshError('shutting_down', 'the node is stopping'));
    this.#interrupt.abort();
    await this.#running;
    await this.#onDemand?.result.catch(() => undefined);
  }

  status(): ScrubStatus {
    const pass = this.#onDemand?.pass ?? this.#background;
    return { ...this.#options, position: pass.position, current: pass.counts, last: this.#last };
  }

  /**
   * Looks at everything now, as fast as the rate allows, and resolves with what was found. Whoever asks meanwhile gets
   * the same. Rejects with the signal's reason, or `MeshError` `shutting_down`.
   */
  now(signal: AbortSignal): Promise<ScrubCounts> {
    this.#onDemand ??= this.#begin(signal);
    return this.#onDemand.result;
  }

  #begin(signal: AbortSignal): { readonly pass: Pass; readonly result: Promise<ScrubCounts> } {
    const pass = new Pass();
    const ended = AbortSignal.any([signal, this.#stopping.signal]);
    this.#interrupt.abort();
    const result = this.#running
      .then(() => this.#go(pass, atOnce, ended))
      .then(() => this.#finish(pass))
      .finally(() => {
        this.#onDemand = undefined;
        if (!this.#stopping.signal.aborted) this.#running = this.#run();
      });
    result.catch(() => undefined);
    return { pass, result };
  }

  /** The passes in the background, one after the other, until it is interrupted. */
  async #run(): Promise<void> {
    const { clock, log } = this.#dependencies;
    this.#interrupt = new AbortController();
    const { signal } = this.#interrupt;
    while (!signal.aborted) {
      const pass = this.#background;
      try {
        await this.#go(pass, evenly(clock.monotonicMs(), pass.position, this.#options.periodMs), signal);
        await this.#finish(pass);
      } catch (error) {
        if (signal.aborted) break;
        log.error('content:scrub_failed', { error });
        await clock.sleep(failedMs, signal).catch(() => undefined);
      }
    }
    await this.#note().catch((error: unknown) => log.warn('content:scrub_not_noted', { error }));
  }

  async #finish(pass: Pass): Promise<ScrubCounts> {
    this.#last = { ...pass.counts, time: this.#dependencies.clock.nowMs() };
    this.#background = new Pass();
    this.#dependencies.log.info('content:scrubbed', { ...pass.counts });
    await this.#note();
    return pass.counts;
  }

  /** Goes through what a pass has not seen yet; an item at a place is not looked at before its time has come. */
  async #go(pass: Pass, pace: Pace, signal: AbortSignal): Promise<void> {
    const { clock } = this.#dependencies;
    let notedMs = clock.monotonicMs();
    let items = 0;
    for (;;) {
      signal.throwIfAborted();
      const next = await this.#next(pass);
      const nowMs = clock.monotonicMs();
      const restMs = pace.dueMs(next?.place ?? 1) - nowMs;
      if (next === undefined && restMs <= 0) return;
      if (next === undefined || restMs > 0) await clock.sleep(Math.min(Math.max(restMs, waitMsMin), waitMsMax), signal);
      else items += await this.#lookAt(pass, next, pace, signal);
      pass.position = pace.positionAt(clock.monotonicMs(), next?.place ?? 1);
      this.#position.set(pass.position);
      if (items < notedItemsMax && nowMs - notedMs < notedEveryMs) continue;
      items = 0;
      notedMs = nowMs;
      await this.#note();
    }
  }

  /** The next items of that track which comes next. */
  async #next(
    pass: Pass,
  ): Promise<{ readonly track: Track; readonly place: number; readonly page: Item[] } | undefined> {
    let next: { readonly track: Track; readonly place: number; readonly page: Item[] } | undefined;
    for (const track of ['files', 'rows'] as const) {
      const page = await this.#page(track, pass.after[track]);
      const place = page[0] === undefined ? undefined : placeOf(track, page[0].hash);
      if (place !== undefined && (next === undefined || place < next.place)) next = { track, place, page };
    }
    return next;
  }

  /** Looks at those items whose time has come, and resolves with their number. */
  async #lookAt(
    pass: Pass,
    { track, page }: { readonly track: Track; readonly page: readonly Item[] },
    pace: Pace,
    signal: AbortSignal,
  ): Promise<number> {
    const { clock } = this.#dependencies;
    let debtMs = 0;
    let items = 0;
    for (const item of page) {
      if (pace.dueMs(placeOf(track, item.hash)) > clock.monotonicMs()) break;
      debtMs += ((await this.#look(pass, item)) / this.#options.bytesPerSecondMax) * 1_000;
      if (debtMs >= debtMsMin) {
        await clock.sleep(debtMs, signal);
        debtMs = 0;
      }
      signal.throwIfAborted();
      pass.after[track] = item.hash;
      items += 1;
    }
    // Rows are read without waiting for anything: others get their turn here.
    await clock.sleep(Math.max(1, debtMs), signal);
    return items;
  }

  async #page(track: Track, after: BlobHash | undefined): Promise<Item[]> {
    const { kv, store } = this.#dependencies;
    const items: Item[] = [];
    if (track === 'rows') {
      for (const [key, value] of kv.range({ ...hashedRange('blob', after), limit: pageMax })) {
        const kind = isCompleteKey(key) ? 'content' : 'blob';
        items.push({ hash: hashOfKey(key), kind, sizeBytes: value.length });
      }
      return wholeHashes(items);
    }
    for await (const { hash, sizeBytes } of store.files(after)) {
      items.push({ hash, kind: 'blob', sizeBytes });
      if (items.length === pageMax) break;
    }
    return items;
  }

  /** Resolves with the bytes that were read. */
  async #look(pass: Pass, item: Item): Promise<number> {
    if (item.kind === 'content') {
      if (!(await isWhole(this.#dependencies, item.hash))) await this.#reopen(pass, item.hash);
      return 0;
    }
    const { kv, store, links, pins, sweeper } = this.#dependencies;
    const { hash, sizeBytes } = item;
    if (sweeper.isReady && !pins.has(hash) && !links.isReached(kv, hash, sizeBytes)) {
      // It may have come to be needed since, which the sweeper looks at again.
      if ((await sweeper.removeUnreached([hash])) > 0) this.#report(pass, 'leftovers', { hash });
      return 0;
    }
    const finding = await store.inspect(hash);
    if (finding === 'damaged') this.#report(pass, 'damaged', { hash });
    if (finding === 'absent') return 0;
    pass.count({ blobs: 1, bytes: sizeBytes });
    this.#scrubbedBytes.add(sizeBytes);
    return sizeBytes;
  }

  async #reopen(pass: Pass, manifest: BlobHash): Promise<void> {
    const { batcher, jobs } = this.#dependencies;
    await batcher.add((transaction) => jobs.reopen(transaction, manifest, 'incomplete'));
    this.#dependencies.onReopened();
    this.#report(pass, 'incomplete', { manifest });
  }

  #report(pass: Pass, kind: 'damaged' | 'incomplete' | 'leftovers', what: Readonly<Record<string, unknown>>): void {
    pass.count({ [kind]: 1 });
    this.#found.add(1, { kind });
    this.#dependencies.log.warn('content:scrub_found', { kind, ...what });
  }

  /** Writes the place of the pass in the background down. */
  #note(): Promise<void> {
    const { after, position, counts } = this.#background;
    const state = encodeRow({ v: 1, after, position, current: counts, last: this.#last });
    return this.#dependencies.batcher.add((transaction) => transaction.put(stateKey('scrub'), state));
  }
}

/** A full page may end between a manifest and the marker behind it, which have one hash: both come with the next page then. */
function wholeHashes(items: readonly Item[]): Item[] {
  const last = items.at(-1);
  if (items.length < pageMax || last === undefined || last.kind === 'content') return [...items];
  return items.slice(0, -1);
}

/** Where a hash lies among all, 0 to 1, in the order of its track: names sort as text, keys as bytes. */
function placeOf(track: Track, hash: BlobHash): number {
  let place = 0;
  for (let index = 0; index < 4; index++) {
    const code = hash.charCodeAt(index);
    const isLetter = code >= 97;
    const digit = track === 'rows' ? (isLetter ? code - 97 : code - 24) : isLetter ? code - 91 : code - 50;
    place = place * 32 + digit;
  }
  return place / 32 ** 4;
}
