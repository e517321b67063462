import type { BlobHash, PeerId } from '../../crdt/ids.ts';
import type { Clock } from '../../src/ports/clock.ts';
import type { Log } from '../../src/ports/log.ts';
import type { MeshError } from '../../src/ports/mesh-error.ts';
import type { Counter, Metrics } from '../../src/ports/metrics.ts';
import type { Network } from '../../src/ports/network.ts';
import type { Random } from '../../src/ports/random.ts';
import { BufferPool } from './buffer-pool.ts';
import type { HolderGroup } from './holder-group.ts';
import { HolderScores } from './holder-scores.ts';
import type { BlobWant } from './holder-session.ts';
import { HolderSession } from './holder-session.ts';
import { wantHashesMax } from './limits.ts';
import { bestHolder, holderWindowBytes } from './ranking.ts';
import type { RateLimiter } from './rate-limit.ts';

/** A blob as a holder sent it: verified already. */
export interface FetchedBlob {
  /** Who gave it. */
  readonly from: PeerId;
  readonly sizeBytes: number;
  /** Its bytes, to keep; for whoever fetched it `storeOnly` they are gone as soon as `stored` has settled. */
  readonly bytes: Uint8Array;
  /** Settles when the blob is in the node's store; rejects as the store does. */
  readonly stored: Promise<void>;
}

/** What the fetcher needs from its node. */
export interface BlobFetcherDependencies {
  readonly network: Pick<Network, 'open'>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Stores a verified blob. Called in the same turn in which the blob was verified; the bytes are not its own once it has settled. */
  store(hash: BlobHash, bytes: Uint8Array): Promise<void>;
  /** When storage is behind: a promise to wait for before more is taken from peers. */
  room(): Promise<void> | undefined;
  /** What may be received a second, when that is limited. */
  readonly download?: RateLimiter | undefined;
}

/** How one blob is to be fetched. */
export interface FetchOptions {
  /** The holders of the content that the blob belongs to. */
  readonly holders: HolderGroup;
  /** The blob is to be stored and its bytes are of no use otherwise. */
  readonly storeOnly?: boolean;
  /** The caller stores the blob itself. */
  readonly unstored?: boolean;
  /** Asked before everything that is not urgent: somebody is reading. */
  readonly urgent?: boolean;
  readonly signal?: AbortSignal;
}

/** Order in which waiting needs are asked: a reader's, those a holder has failed already, all others. */
const priority = { urgent: 0, again: 1, normal: 2 } as const;
type Priority = (typeof priority)[keyof typeof priority];

/** Holders talked to at once. */
const sessionsMax = 8;
/** A session without wants is closed after so long. */
const idleMs = 30_000;
const tickMs = 1_000;
/** A blob that one holder owes us for so long is asked of a second, idle one as well. */
const hedgeAfterMs = 2_000;
/** Needs looked at in vain before a dispatch gives up: their holders are all busy. */
const busyNeedsMax = 32;
/** A holder that owes all it may is asked for more when it owes only so much of that: then for several blobs at once. */
const againShare = 3 / 4;

interface Need extends BlobWant {
  readonly groups: Set<HolderGroup>;
  readonly result: PromiseWithResolvers<FetchedBlob | undefined>;
  /** Holders that lack the blob or have failed it. */
  readonly failedBy: Set<PeerId>;
  /** Sessions that owe it, at most two. */
  readonly askedOf: Map<HolderSession, number>;
  priority: Priority;
  waiters: number;
  /** Somebody wants the bytes themselves. */
  read: boolean;
  /** Somebody counts on the fetcher to store it. */
  store: boolean;
  /** `#changes` when its holders were all found busy. */
  busyAt: number | undefined;
}

/**
 * Fetches blobs by hash from whichever holders answer best, several at a time. Wants for one blob share one
 * transfer. A holder that lacks the blob, fails or is silent is passed over for the next; one that sends
 * wrong bytes is left alone for long, and nothing it sent is kept.
 */
export class BlobFetcher {
  readonly #dependencies: BlobFetcherDependencies;
  readonly #scores: HolderScores;
  readonly #buffers = new BufferPool();
  /** When a peer came last. */
  #cameMs = Number.NEGATIVE_INFINITY;
  readonly #receivedBytes: Counter;
  readonly #sessions = new Map<PeerId, HolderSession>();
  readonly #needs = new Map<BlobHash, Need>();
  readonly #queues: readonly Set<Need>[] = [new Set(), new Set(), new Set()];
  /** Holders that owe all they may, until they owe less again. */
  readonly #full = new Set<HolderSession>();
  /** How often something changed that may let a need find a holder whose holders were all busy. */
  #changes = 0;
  #dispatchPlanned = false;
  #cancelTick: (() => void) | undefined;
  #closed = false;

  constructor(dependencies: BlobFetcherDependencies) {
    this.#dependencies = dependencies;
    this.#scores = new HolderScores(dependencies);
    this.#receivedBytes = dependencies.metrics.counter({
      name: 'anabranch_blobs_received_bytes_total',
      help: 'Verified bytes of chunks and manifests received from peers.',
    });
  }

  /**
   * The blob, verified and on its way into the store; undefined when no holder could give it now, or the
   * signal was aborted. Bounding how much is asked for at once is up to the caller.
   */
  fetch(want: BlobWant, options: FetchOptions): Promise<FetchedBlob | undefined> {
    const { signal } = options;
    if (this.#closed || signal?.aborted === true) return Promise.resolve(undefined);
    const need = this.#needs.get(want.hash) ?? this.#addNeed(want);
    need.groups.add(options.holders);
    need.busyAt = undefined;
    need.waiters += 1;
    need.read ||= options.storeOnly !== true;
    need.store ||= options.unstored !== true;
    if (options.urgent === true && need.askedOf.size === 0) this.#enqueue(need, priority.urgent);
    this.#planDispatch();
    return signal === undefined ? need.result.promise : this.#untilAborted(need, signal);
  }

  /** Monotonic point at which a holder that owes us this blob last sent anything; undefined when none does. */
  lastProgressMs(hash: BlobHash): number | undefined {
    const need = this.#needs.get(hash);
    if (need === undefined || need.askedOf.size === 0) return undefined;
    return Math.max(...Array.from(need.askedOf.keys(), (session) => session.lastProgressMs));
  }

  /** A peer is connected afresh: what failed on the old connection is forgotten. */
  peerConnected(peer: PeerId): void {
    this.#scores.connected(peer);
    this.#cameMs = this.#dependencies.clock.monotonicMs();
    this.#changes += 1;
    this.#planDispatch();
  }

  /** True while a peer is left alone because it broke the protocol, as with bytes that do not match their hash. */
  distrusts(peer: PeerId): boolean {
    return this.#scores.of(peer).distrustedUntilMs > this.#dependencies.clock.monotonicMs();
  }

  /** Ends every session; what is not here yet reads as unavailable. */
  close(): void {
    this.#closed = true;
    this.#cancelTick?.();
    for (const session of [...this.#sessions.values()]) session.end();
    for (const need of [...this.#needs.values()]) this.#finish(need, undefined);
  }

  #addNeed(want: BlobWant): Need {
    const need: Need = {
      hash: want.hash,
      sizeBytes: want.sizeBytes,
      groups: new Set(),
      result: Promise.withResolvers<FetchedBlob | undefined>(),
      failedBy: new Set(),
      askedOf: new Map(),
      priority: priority.normal,
      waiters: 0,
      read: false,
      store: false,
      busyAt: undefined,
    };
    this.#needs.set(need.hash, need);
    this.#enqueue(need, priority.normal);
    return need;
  }

  #enqueue(need: Need, level: Priority): void {
    this.#queues[need.priority]?.delete(need);
    need.priority = level;
    need.busyAt = undefined;
    this.#queues[level]?.add(need);
  }

  #untilAborted(need: Need, signal: AbortSignal): Promise<FetchedBlob | undefined> {
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        need.waiters -= 1;
        if (need.waiters === 0 && need.askedOf.size === 0) this.#finish(need, undefined);
        resolve(undefined);
      };
      signal.addEventListener('abort', onAbort, { once: true });
      need.result.promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
    });
  }

  #finish(need: Need, fetched: FetchedBlob | undefined): void {
    this.#needs.delete(need.hash);
    this.#queues[need.priority]?.delete(need);
    need.result.resolve(fetched);
  }

  #planDispatch(): void {
    if (this.#dispatchPlanned || this.#closed) return;
    this.#dispatchPlanned = true;
    queueMicrotask(() => {
      this.#dispatchPlanned = false;
      if (!this.#closed) this.#dispatch();
    });
  }

  /** Hands waiting needs to holders while these have room for more. */
  #dispatch(): void {
    let busy = 0;
    for (const queue of this.#queues) {
      for (const need of queue) {
        const session = this.#isStillBusy(need) ? 'busy' : this.#sessionFor(need);
        if (session === 'none') this.#finish(need, undefined);
        else if (session !== 'busy') this.#ask(session, need);
        else {
          busy += 1;
          need.busyAt = this.#changes;
        }
        if (busy >= busyNeedsMax) return;
      }
    }
  }

  /** Going through the holders of a need again would come to the same. What a reader waits for is tried all the same. */
  #isStillBusy({ busyAt, priority: level }: Need): boolean {
    return busyAt === this.#changes && level !== priority.urgent;
  }

  #ask(session: HolderSession, need: Need): void {
    this.#queues[need.priority]?.delete(need);
    need.askedOf.set(session, this.#dependencies.clock.monotonicMs());
    // Not the need itself, which holds the blob once it is here: a session keeps what it was asked for a while.
    session.ask({ hash: need.hash, sizeBytes: need.sizeBytes });
    this.#cancelTick ??= this.#dependencies.clock.setTimer(tickMs, () => this.#tick());
  }

  #sessionFor(need: Need, isUsable: (peer: PeerId) => boolean = () => true): HolderSession | 'busy' | 'none' {
    const candidates = [];
    const asked = new Set(Array.from(need.askedOf.keys(), (session) => session.peer));
    const nowMs = this.#dependencies.clock.monotonicMs();
    for (const group of need.groups) {
      for (const peer of group.peers(nowMs, this.#cameMs)) {
        if (need.failedBy.has(peer) || asked.has(peer) || !isUsable(peer)) continue;
        asked.add(peer);
        const outstandingBytes = this.#sessions.get(peer)?.outstandingBytes ?? 0;
        candidates.push({
          peer,
          score: this.#scores.of(peer),
          outstandingBytes,
          lacksContent: group.lacks(peer, nowMs),
          doubt: group.doubtOf(peer),
        });
      }
    }
    const best = bestHolder(candidates, need.sizeBytes, nowMs);
    if (best === undefined) return 'none';
    const session = this.#sessions.get(best.peer);
    if (session === undefined) return this.#openSession(best.peer);
    if (session.outstanding === 0) return session;
    if (this.#full.has(session) && need.priority !== priority.urgent) return 'busy';
    const hasRoom =
      session.outstandingBytes + need.sizeBytes <= holderWindowBytes(best.score) && session.outstanding < wantHashesMax;
    if (hasRoom) return session;
    this.#full.add(session);
    return 'busy';
  }

  /** A holder that owed all it might owes less: once that is enough for several blobs, it is asked for more. */
  #owesLess(session: HolderSession): void {
    const { peer, outstanding, outstandingBytes } = session;
    const isEnough =
      outstandingBytes <= againShare * holderWindowBytes(this.#scores.of(peer)) &&
      outstanding <= againShare * wantHashesMax;
    if (outstanding > 0 && !(this.#full.has(session) && isEnough)) return;
    this.#full.delete(session);
    this.#changes += 1;
  }

  #openSession(peer: PeerId): HolderSession | 'busy' {
    if (this.#sessions.size >= sessionsMax) {
      const quiet = this.#sessions.values().find((session) => session.outstanding === 0);
      if (quiet === undefined) return 'busy';
      quiet.end();
    }
    const session: HolderSession = new HolderSession(peer, {
      network: this.#dependencies.network,
      clock: this.#dependencies.clock,
      buffers: this.#buffers,
      room: () => this.#dependencies.room(),
      pace: (bytes) => this.#dependencies.download?.take(peer, bytes),
      onAnswer: (want, blob) => this.#onAnswer(session, want, blob),
      onLatency: (latencyMs) => this.#scores.latency(peer, latencyMs),
      onThroughput: (bytes, waitedMs) => this.#scores.throughput(peer, bytes, waitedMs),
      onEnd: (error, unanswered) => this.#onSessionEnd(session, error, unanswered),
    });
    this.#sessions.set(peer, session);
    return session;
  }

  #onAnswer(session: HolderSession, want: BlobWant, blob: Uint8Array<ArrayBuffer> | undefined): void {
    this.#planDispatch();
    this.#scores.success(session.peer);
    this.#owesLess(session);
    if (blob !== undefined) this.#receivedBytes.add(blob.length);
    const need = this.#needs.get(want.hash);
    // A second holder's answer to what the first has delivered meanwhile, or nobody waits any more.
    if (need === undefined || !need.askedOf.delete(session)) {
      if (blob !== undefined) this.#buffers.give(blob);
      return;
    }
    if (blob === undefined) {
      const nowMs = this.#dependencies.clock.monotonicMs();
      for (const group of need.groups) group.noteMissing(session.peer, nowMs);
      this.#failNeed(need, session.peer);
      return;
    }
    for (const group of need.groups) group.noteHeld(session.peer);
    const stored = need.store ? this.#dependencies.store(need.hash, blob) : Promise.resolve();
    const release = need.read ? (): void => undefined : (): void => this.#buffers.give(blob);
    stored.then(release, release);
    this.#finish(need, { from: session.peer, sizeBytes: blob.length, bytes: blob, stored });
  }

  #failNeed(need: Need, peer: PeerId): void {
    need.failedBy.add(peer);
    if (need.askedOf.size > 0) return;
    if (need.waiters === 0) this.#finish(need, undefined);
    else this.#enqueue(need, need.priority === priority.urgent ? priority.urgent : priority.again);
  }

  #onSessionEnd(session: HolderSession, error: MeshError | undefined, unanswered: readonly BlobWant[]): void {
    if (this.#sessions.get(session.peer) === session) this.#sessions.delete(session.peer);
    this.#full.delete(session);
    this.#changes += 1;
    if (this.#closed) return;
    if (error !== undefined) this.#scores.failure(session.peer, error);
    for (const want of unanswered) {
      const need = this.#needs.get(want.hash);
      if (need?.askedOf.delete(session) === true) this.#failNeed(need, session.peer);
    }
    this.#planDispatch();
  }

  /** Once a second while there are sessions: gives up silent holders, doubles what is overdue, closes what is idle. */
  #tick(): void {
    this.#cancelTick = undefined;
    // Who is to be left alone for a while, and what is known of the holders, change by themselves.
    this.#changes += 1;
    const nowMs = this.#dependencies.clock.monotonicMs();
    for (const session of [...this.#sessions.values()]) {
      session.checkStall();
      if (session.outstanding === 0 && nowMs - session.lastProgressMs >= idleMs) session.end();
    }
    this.#hedge(nowMs);
    // Hedging may have asked, and so begun the next second already.
    if (this.#sessions.size > 0) this.#cancelTick ??= this.#dependencies.clock.setTimer(tickMs, () => this.#tick());
  }

  /** When nothing waits to be asked, holders without work are asked for what others have owed us for long. */
  #hedge(nowMs: number): void {
    if (this.#queues.some((queue) => queue.size > 0)) return;
    // What is late because of the rate would only be later if it came twice.
    if (this.#dependencies.download?.isBehind === true) return;
    for (const need of this.#needs.values()) {
      const askedMs = need.askedOf.size === 1 ? need.askedOf.values().next().value : undefined;
      if (askedMs === undefined || nowMs - askedMs < hedgeAfterMs) continue;
      const session = this.#sessionFor(need, (peer) => (this.#sessions.get(peer)?.outstanding ?? 0) === 0);
      if (session === 'busy') return;
      if (session !== 'none') this.#ask(session, need);
    }
  }
}
