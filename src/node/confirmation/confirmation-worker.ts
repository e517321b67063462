import type { BlobHash, DocId, NodeId, VersionId } from '../../../crdt/ids.ts';
import type { Version } from '../../../crdt/version.ts';
import { compareHeads } from '../../../crdt/version-graph.ts';
import type { QuorumEngine } from '../../../protocols/quorum/engine.ts';
import type { Outcome } from '../../../protocols/quorum/register-kind.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Kv } from '../../ports/kv.ts';
import type { Log } from '../../ports/log.ts';
import { MeshError } from '../../ports/mesh-error.ts';
import type { Counter, Metrics } from '../../ports/metrics.ts';
import type { Random } from '../../ports/random.ts';
import type { ObjectStore } from '../object-store.ts';
import type { HeadRow, ObjectRow } from '../rows.ts';
import { ConfirmationQueue } from './confirmation-queue.ts';

/** Objects under way at once. */
const lanesMax = 64;
/** How long what was written waits for company, and for a writer that asks for it itself. */
const gatherMs = 10;
/** While writes go on, what they leave is confirmed in bursts that far apart, each sharing its flushes. */
const burstEveryMs = 500;
/** The longest rest of a lane between two objects while writes are under way. */
const restMsMax = 1_000;
/** Objects that a lane looks at in a row without a proposal. */
const unaskedMax = 4;
/** First wait before what was unavailable is tried again; it doubles up to the greatest. */
const retryMsMin = 500;
const retryMsMax = 30_000;
/** What waits for copies of its content is looked at again that often, whatever this node was told of them. */
const copiesLookMs = 120_000;
/** How many of these come at once, and how long after each other: the look at very many takes as long as it takes. */
const lookedAtOnceMax = 512;
const lookEveryMs = 500;
/** How long one confirmation may take. */
const confirmMsMax = 10_000;
/** Heads remembered that can never be confirmed as the coordinators see it, while that is not to be seen here yet. */
const lostKeptMax = 10_000;
/** Versions remembered whose copies came; the oldest are forgotten first, and their objects wait for those of their heads. */
const backedKeptMax = 10_000;

interface Dependencies {
  readonly kv: Kv;
  readonly clock: Clock;
  readonly random: Random;
  readonly objects: ObjectStore;
  readonly engine: Pick<QuorumEngine, 'propose'>;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Whether a majority can be reached. */
  readonly available: () => boolean;
  /** Writes under way at this node. */
  readonly writesUnderWay: () => number;
  readonly copies: ProvedContent;
}

/** What is known of the copies of contents. */
export interface ProvedContent {
  /** Whether enough copies of a version's content are proved for the version to be confirmed by itself. */
  isBacked(version: Version): boolean;
  /** Calls back when one more copy of a content was proved. Returns the unsubscriber. */
  onProved(listener: (manifest: BlobHash) => void): () => void;
}

/** How a confirmation is waited for. */
interface ConfirmOptions {
  readonly signal?: AbortSignal | undefined;
  /** The version was written just now, and others can hardly hold it yet. */
  readonly isFresh?: boolean;
  /** Resolves when the version is on disk and was told of here, and rejects when it will not be: nobody else is asked before. */
  readonly flushed?: Promise<void>;
}

/**
 * Has this node's provisional versions confirmed, in the background: an object at a time in each of a bounded number of
 * lanes, whose messages and flushes the engine shares. Writes come first: while some are under way, each lane rests
 * after every object for as long again as it worked, times the writes. What cannot be confirmed for want of a majority
 * waits until there is one, what lacks proved copies of its content until there are enough; what can never be, since it does not descend from the confirmed head, is left alone and
 * stays a branch.
 */
export class ConfirmationWorker {
  readonly #dependencies: Dependencies;
  readonly #nodeId: NodeId;
  readonly #queue: ConfirmationQueue;
  readonly #lost = new Map<DocId, VersionId>();
  /** Versions that have their copies now: proposed when the head that took their place meanwhile still lacks its own. */
  readonly #backed = new Map<DocId, VersionId>();
  readonly #outcomes: Counter;
  readonly #stopping = new AbortController();
  #lanes = 0;
  #lastBurstMs = Number.NEGATIVE_INFINITY;
  #started = false;
  #cancelGather: (() => void) | undefined;
  #cancelRetry: (() => void) | undefined;
  #retryMs = retryMsMin;
  #saving: Promise<void> = Promise.resolve();
  #cancelLook: (() => void) | undefined;
  #lookAtMs = Number.POSITIVE_INFINITY;
  #unsubscribe: () => void = () => undefined;

  constructor(dependencies: Dependencies, options: { readonly nodeId: NodeId }) {
    this.#dependencies = dependencies;
    this.#nodeId = options.nodeId;
    const isPending = (row: ObjectRow): boolean => this.#candidates(row).length > 0;
    this.#queue = new ConfirmationQueue({ ...dependencies, isPending });
    this.#outcomes = dependencies.metrics.counter({
      name: 'anabranch_confirmations_total',
      help: 'Proposals of heads to the coordinators, by how they ended.',
      labels: ['outcome'],
    });
  }

  /** Objects that wait for their confirmation by this node. */
  get pending(): number {
    return this.#queue.size;
  }

  /** Those of them that wait for copies of their content. */
  get waitingForCopies(): number {
    return this.#queue.waitingForCopies;
  }

  start(): void {
    this.#started = true;
    this.#unsubscribe = this.#dependencies.copies.onProved((manifest) => this.#proved(manifest));
    this.#gather();
  }

  /** Ends what is under way. What was not confirmed waits for the next start. */
  async stop(): Promise<void> {
    this.#started = false;
    this.#unsubscribe();
    this.#cancelGather?.();
    this.#cancelRetry?.();
    this.#cancelLook?.();
    this.#stopping.abort(new MeshError('shutting_down', 'the node is stopping'));
    await this.#saving;
    await this.#queue.save({ always: true }).catch((error: unknown) => this.#notSaved(error));
  }

  /** An object has changed, and that is on disk. */
  changed(doc: DocId, row: ObjectRow): void {
    this.#queue.note(doc, row);
    this.#gather();
  }

  /** A majority is back, or a peer is: what could not be confirmed is tried again. */
  retry(): void {
    this.#retryMs = retryMsMin;
    this.#cancelRetry?.();
    this.#cancelRetry = undefined;
    this.#queue.resume();
    if (this.#queue.hasCopyWaits) this.#planLook(0);
    this.#gather();
  }

  /**
   * Has one version confirmed for somebody who waits for it. Without an answer in time, or when the signal is aborted,
   * the outcome is `unavailable`, and this goes on in the background.
   */
  async confirm(doc: DocId, head: VersionId, options: ConfirmOptions = {}): Promise<Outcome> {
    const { signal, flushed } = options;
    const proposed = this.#propose(doc, head, options);
    proposed.catch(() => undefined);
    await flushed;
    const isClaimed = this.#queue.claim(doc);
    let isSettled = false;
    try {
      const outcome = await proposed;
      isSettled = outcome.kind !== 'unavailable';
      return outcome;
    } catch (error) {
      if (!this.#isAbort(error, signal)) throw error;
      return { kind: 'unavailable', reason: 'deadline' };
    } finally {
      if (isClaimed && isSettled) this.#queue.settle(doc);
      if (isClaimed && !isSettled) this.#postpone(doc);
    }
  }

  /** The heads that may be proposed: those of this node's that descend from the confirmed one, the greatest first. */
  #candidates({ ns, key, heads, confirmed }: ObjectRow): readonly HeadRow[] {
    const own = heads.filter(({ id, node }) => node === this.#nodeId && id !== confirmed?.id);
    if (own.length === 0) return own;
    const { kv, objects } = this.#dependencies;
    const lost = this.#lost.size === 0 ? undefined : this.#lost.get(objects.documentId(ns, key));
    const isAncestor = objects.ancestry(kv);
    return own
      .filter(({ id }) => id !== lost)
      .filter(({ id }) => confirmed === undefined || isAncestor(confirmed.id, id) || objects.damaged().length > 0)
      .sort((left, right) => compareHeads(right, left));
  }

  #gather(): void {
    if (!this.#started || this.#cancelGather !== undefined) return;
    const { clock } = this.#dependencies;
    const delayMs = Math.max(gatherMs, this.#lastBurstMs + burstEveryMs - clock.monotonicMs());
    this.#cancelGather = clock.setTimer(delayMs, () => {
      this.#cancelGather = undefined;
      this.#run();
    });
  }

  #run(): void {
    if (!this.#started) return;
    const isScanned = this.#queue.scan();
    if (!isScanned) this.#gather();
    if (!this.#dependencies.available()) return;
    this.#save();
    if (this.#queue.hasReady) this.#lastBurstMs = this.#dependencies.clock.monotonicMs();
    while (this.#queue.hasReady && this.#lanes < lanesMax) {
      const doc = this.#queue.take();
      if (doc === undefined) return;
      this.#lanes += 1;
      void this.#lane(doc);
    }
  }

  async #lane(first: DocId): Promise<void> {
    const { clock, available, writesUnderWay } = this.#dependencies;
    const { signal } = this.#stopping;
    let unasked = 0;
    try {
      for (let doc: DocId | undefined = first; doc !== undefined; doc = this.#queue.take()) {
        const startedMs = clock.monotonicMs();
        await this.#confirmNext(doc);
        if (signal.aborted || !available()) return;
        const workedMs = clock.monotonicMs() - startedMs;
        const restMs = Math.min(restMsMax, Math.max(1, workedMs) * writesUnderWay());
        // Where nothing was asked of anybody, as when copies are waited for, nobody else would get a turn.
        unasked = workedMs < 1 ? unasked + 1 : 0;
        if (restMs > 0 || unasked % unaskedMax === unaskedMax - 1) await clock.sleep(restMs, signal);
      }
    } catch (error) {
      if (!signal.aborted) this.#dependencies.log.warn('confirmation:failed', { error });
    } finally {
      this.#lanes -= 1;
      // There may be room now for what the feed still has.
      this.#gather();
    }
  }

  async #confirmNext(doc: DocId): Promise<void> {
    const { kv, objects, log } = this.#dependencies;
    const row = objects.object(kv, doc);
    const own = row === undefined ? [] : this.#candidates(row);
    const earlier = this.#backed.get(doc);
    this.#backed.delete(doc);
    if (row === undefined || own.length === 0) return this.#queue.settle(doc);
    // What a damaged record is about nobody can tell: it is brought again, and looked at then.
    const candidates = own.filter(({ id }) => objects.sound(kv, id) !== undefined);
    const [head] = candidates;
    if (head === undefined) return this.#postpone(doc);
    // An object that is written faster than its copies are proved would never be confirmed by its heads alone.
    const isEarlier = !this.#isBacked(head.id) && this.#isBetween(row, earlier, head.id);
    // A head whose content is nowhere any more would keep all others waiting.
    const version = isEarlier ? earlier : candidates.find(({ id }) => this.#isBacked(id))?.id;
    if (version === undefined) return this.#waitForCopies(doc, head.id);
    try {
      const outcome = await this.#propose(doc, version);
      if (outcome.kind === 'unavailable') return this.#postpone(doc);
      this.#retryMs = retryMsMin;
      if (isEarlier) this.#waitForCopies(doc, head.id);
      else this.#queue.settle(doc);
    } catch (error) {
      this.#postpone(doc);
      if (!this.#isAbort(error)) log.warn('confirmation:failed', { doc, version, error });
    }
  }

  /** Whether a version is on the way from the confirmed head to this one. */
  #isBetween({ confirmed }: ObjectRow, version: VersionId | undefined, head: VersionId): version is VersionId {
    if (version === undefined) return false;
    const { kv, objects } = this.#dependencies;
    const isAncestor = objects.ancestry(kv);
    if (!isAncestor(version, head)) return false;
    return confirmed === undefined || (version !== confirmed.id && isAncestor(confirmed.id, version));
  }

  async #propose(
    doc: DocId,
    head: VersionId,
    { signal, isFresh = false, flushed }: ConfirmOptions = {},
  ): Promise<Outcome> {
    const stopping = this.#stopping.signal;
    const decided = await this.#dependencies.engine.propose(doc, head, {
      signal: signal === undefined ? stopping : AbortSignal.any([signal, stopping]),
      timeoutMs: confirmMsMax,
      isFresh,
      ...(flushed === undefined ? {} : { flushed }),
    });
    // Only this refusal is for good; any other is of whoever judged.
    const isFinal = decided.kind !== 'refused' || decided.refusal.code === 'not_a_descendant';
    const outcome: Outcome = isFinal ? decided : { kind: 'unavailable', reason: 'missing' };
    this.#outcomes.add(1, { outcome: outcome.kind === 'unavailable' ? outcome.reason : outcome.kind });
    if (outcome.kind === 'refused') this.#refused(doc, head);
    return outcome;
  }

  /** It stays a branch. Here that may not be to be seen yet, when the confirmed head has not arrived. */
  #refused(doc: DocId, head: VersionId): void {
    remember(this.#lost, doc, head, lostKeptMax);
  }

  #postpone(doc: DocId): void {
    this.#queue.postpone(doc);
    if (!this.#started || this.#cancelRetry !== undefined || !this.#queue.hasLater) return;
    const { clock, random } = this.#dependencies;
    const delayMs = this.#retryMs * (0.5 + random.fraction());
    this.#retryMs = Math.min(retryMsMax, this.#retryMs * 2);
    this.#cancelRetry = clock.setTimer(delayMs, () => {
      this.#cancelRetry = undefined;
      if (this.#queue.resume()) this.#gather();
    });
  }

  /** Whether a version has the copies of its content that it waits for; false while its record is damaged. */
  #isBacked(id: VersionId): boolean {
    const { kv, objects, copies } = this.#dependencies;
    const version = objects.sound(kv, id);
    return version !== undefined && (version.record.content === null || copies.isBacked(version));
  }

  /** A version lacks copies of its content: its object waits until there are more. */
  #waitForCopies(doc: DocId, head: VersionId): void {
    const { kv, objects } = this.#dependencies;
    const manifest = objects.sound(kv, head)?.record.content?.manifest;
    // The proof may have come while an earlier version was being confirmed.
    if (manifest === undefined || this.#isBacked(head)) {
      this.#queue.again(doc);
      this.#gather();
      return;
    }
    this.#queue.waitForCopies(doc, { manifest, version: head });
    // Placement may change as well, so that fewer copies are enough.
    this.#planLook(copiesLookMs);
  }

  #planLook(delayMs: number): void {
    const { clock } = this.#dependencies;
    const atMs = clock.monotonicMs() + delayMs;
    if (!this.#started || this.#lookAtMs <= atMs) return;
    this.#cancelLook?.();
    this.#lookAtMs = atMs;
    this.#cancelLook = clock.setTimer(delayMs, () => {
      this.#lookAtMs = Number.POSITIVE_INFINITY;
      this.#woken(this.#queue.lookAgain(lookedAtOnceMax));
      this.#gather();
      if (this.#queue.isLooking) this.#planLook(lookEveryMs);
      else if (this.#queue.hasCopyWaits) this.#planLook(copiesLookMs);
    });
  }

  #proved(manifest: BlobHash): void {
    const waited = this.#queue.proved(manifest);
    this.#woken(waited);
    if (waited.length > 0) this.#gather();
    if (this.#queue.hasRoomForLeft) this.#planLook(lookEveryMs);
  }

  #woken(waited: readonly (readonly [DocId, VersionId])[]): void {
    for (const [doc, version] of waited) {
      if (this.#isBacked(version)) remember(this.#backed, doc, version, backedKeptMax);
    }
  }

  #save(): void {
    this.#saving = this.#saving.then(() => this.#queue.save()).catch((error: unknown) => this.#notSaved(error));
  }

  #notSaved(error: unknown): void {
    this.#dependencies.log.warn('confirmation:place_not_kept', { error });
  }

  #isAbort(error: unknown, signal?: AbortSignal): boolean {
    return (
      this.#stopping.signal.aborted ||
      signal?.aborted === true ||
      (error instanceof MeshError && error.code === 'timeout')
    );
  }
}

/** Puts in what is known of an object, and forgets the oldest when there is too much. */
function remember(known: Map<DocId, VersionId>, doc: DocId, version: VersionId, keptMax: number): void {
  known.delete(doc);
  known.set(doc, version);
  if (known.size <= keptMax) return;
  const oldest = known.keys().next();
  if (!oldest.done) known.delete(oldest.value);
}
