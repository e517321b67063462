import type { BlobHash, NodeId } from '../../crdt/ids.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import { MeshError } from '../ports/mesh-error.ts';
import type { Gauge, Metrics } from '../ports/metrics.ts';
import { readBytesOf } from './proof-giver.ts';
import type { CopyFinding } from './replica-index.ts';
import type { Proof, ProvedContent, ReplicaProver } from './replica-prover.ts';

/** Copies that are watched; one more is watched once an audit meets it again and there is room. */
const watchedMax = 8_192;
/** Looks that a holder lets pass before its copy counts as not there. */
const looksMax = 4;
/** The wait before the first look, as a share of the repair delay; each wait is twice the one before, up to the delay. */
const firstWaitShare = 1 / 10;
const waitMsMin = 1_000;
/** A holder that puts off has its reasons: it is given so many repair delays, where one that breaks off has one. */
const putOffDelays = 6;
/** Copies, and bytes to be read, that a holder is asked about in one look: so little that an honest one need not put it off. */
const lookedMax = 64;
const lookedBytesMax = 16 * 1024 * 1024;
/** Between two looks, when there is more to be looked at. */
const restMs = 1_000;

/** A copy that its holder was asked to prove. */
export interface UnprovedCopy {
  readonly node: NodeId;
  readonly manifest: BlobHash;
}

export interface UnprovedCopiesDependencies {
  readonly prover: Pick<ReplicaProver, 'sample'>;
  /** Whether a holder is a member that counts as online; one that does not is replaced by the repair delay, or comes back. */
  readonly isOnline: (node: NodeId) => boolean;
  /** Takes down what a look came to. */
  readonly note: (node: NodeId, manifest: BlobHash, finding: CopyFinding) => void;
  /** Is told of copies that count as not there from now on, since their holders let every look pass. */
  readonly onUnproved: (copies: readonly UnprovedCopy[]) => void;
  /** Fewer copies are there than it seemed: what is to be done about it is to be planned. */
  readonly onWanting: () => void;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
}

interface Watched {
  readonly node: NodeId;
  readonly content: ProvedContent;
  readonly sinceMs: number;
  looks: number;
  waitMs: number;
  dueMs: number;
  /** Some look was broken off, or not answered in time, and not just put off. */
  isBroken: boolean;
}

/**
 * Copies that their holders did not prove when they were asked to, though they are online. Each is looked at again, with
 * growing pauses: one proof, or an answer that it is not there, ends that. A holder that lets all of these looks pass, over
 * longer than the repair delay, counts as without this copy: others stand in for it, until it proves the copy after all.
 * Nothing is dropped for that, so a link that breaks off and on costs one copy more, and no more than that.
 */
export class UnprovedCopies {
  readonly #dependencies: UnprovedCopiesDependencies;
  readonly #delayMs: number;
  readonly #watched = new Map<string, Watched>();
  readonly #gauge: Gauge;
  #cancelTimer: (() => void) | undefined;
  #timerAtMs = Number.POSITIVE_INFINITY;
  #looking: Promise<void> | undefined;
  readonly #stopping = new AbortController();

  constructor(dependencies: UnprovedCopiesDependencies, { repairDelayMs }: { readonly repairDelayMs: number }) {
    this.#dependencies = dependencies;
    this.#delayMs = repairDelayMs;
    this.#gauge = dependencies.metrics.gauge({
      name: 'anabranch_replication_unproved_copies',
      help: 'Copies that their holders, which are online, did not prove when asked to, and are being asked for again.',
    });
  }

  /** A holder was asked to prove a copy and did not; whoever is watched already stays so. */
  failed(node: NodeId, content: ProvedContent): void {
    const name = nameOf(node, content.manifest);
    if (this.#stopping.signal.aborted || this.#watched.has(name) || this.#watched.size >= watchedMax) return;
    const sinceMs = this.#dependencies.clock.monotonicMs();
    const waitMs = Math.max(waitMsMin, this.#delayMs * firstWaitShare);
    this.#watched.set(name, { node, content, sinceMs, looks: 0, waitMs, dueMs: sinceMs + waitMs, isBroken: false });
    this.#plan(sinceMs + waitMs);
  }

  /** A holder has answered about a copy, whatever it said. */
  answered(node: NodeId, manifest: BlobHash): void {
    if (this.#watched.delete(nameOf(node, manifest))) this.#gauge.set(this.#watched.size);
  }

  async stop(): Promise<void> {
    this.#stopping.abort(new MeshError('shutting_down', 'the node is stopping'));
    this.#cancelTimer?.();
    await this.#looking;
  }

  #plan(atMs: number): void {
    this.#gauge.set(this.#watched.size);
    if (this.#stopping.signal.aborted || this.#looking !== undefined || this.#timerAtMs <= atMs) return;
    const { clock, log } = this.#dependencies;
    this.#cancelTimer?.();
    this.#timerAtMs = atMs;
    this.#cancelTimer = clock.setTimer(Math.max(0, atMs - clock.monotonicMs()), () => {
      this.#timerAtMs = Number.POSITIVE_INFINITY;
      this.#looking = this.#look()
        .catch((error: unknown) => log.warn('replication:not_looked_at', { error }))
        .finally(() => {
          this.#looking = undefined;
          this.#planNext();
        });
    });
  }

  #planNext(): void {
    let dueMs = Number.POSITIVE_INFINITY;
    for (const watched of this.#watched.values()) dueMs = Math.min(dueMs, watched.dueMs);
    if (Number.isFinite(dueMs)) this.#plan(Math.max(dueMs, this.#dependencies.clock.monotonicMs() + restMs));
    else this.#gauge.set(0);
  }

  /** Asks each holder for what is due of it, as much as one look has. */
  async #look(): Promise<void> {
    const { clock, isOnline, prover, note, onUnproved, onWanting } = this.#dependencies;
    const nowMs = clock.monotonicMs();
    const byNode = new Map<NodeId, { bytes: number; readonly due: Watched[] }>();
    for (const [name, watched] of this.#watched) {
      if (watched.dueMs > nowMs) continue;
      const { node, content } = watched;
      if (!isOnline(node)) {
        this.#watched.delete(name);
        continue;
      }
      const asked = byNode.get(node) ?? { bytes: 0, due: [] };
      if (asked.due.length === lookedMax || asked.bytes >= lookedBytesMax) continue;
      asked.bytes += readBytesOf(content.sizeBytes, [0, 0, 0]);
      asked.due.push(watched);
      byNode.set(node, asked);
    }
    const looked = await Promise.all(
      Array.from(byNode, async ([node, { due }]) => {
        const contents = due.map(({ content }) => content);
        const proofs = await prover.sample(node, contents, this.#stopping.signal);
        return due.map((watched, index) => ({ watched, finding: this.#findingOf(watched, proofs[index] as Proof) }));
      }),
    );
    const unproved: UnprovedCopy[] = [];
    let isWanting = false;
    for (const { watched, finding } of looked.flat()) {
      if (finding === undefined) continue;
      const { node, content } = watched;
      this.#watched.delete(nameOf(node, content.manifest));
      note(node, content.manifest, finding);
      if (finding === 'unproved') unproved.push({ node, manifest: content.manifest });
      isWanting ||= finding !== 'proved';
    }
    if (unproved.length > 0) onUnproved(unproved);
    if (isWanting) onWanting();
  }

  /** What a look came to; undefined while the copy is to be looked at again. */
  #findingOf(watched: Watched, { result, why }: Proof): CopyFinding | undefined {
    if (result !== 'unreachable') return result;
    // That it could not be asked says nothing, and is no look.
    if (why !== 'not_asked') {
      watched.looks += 1;
      watched.isBroken ||= why !== 'put_off';
      watched.waitMs = Math.min(Math.max(waitMsMin, this.#delayMs), watched.waitMs * 2);
    }
    watched.dueMs = this.#dependencies.clock.monotonicMs() + watched.waitMs;
    return this.#isGivenUp(watched) ? 'unproved' : undefined;
  }

  #isGivenUp({ looks, sinceMs, isBroken }: Watched): boolean {
    const forMs = this.#dependencies.clock.monotonicMs() - sinceMs;
    return looks >= looksMax && forMs >= this.#delayMs * (isBroken ? 1 : putOffDelays);
  }
}

function nameOf(node: NodeId, manifest: BlobHash): string {
  return `${manifest} ${node}`;
}
