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
/** Of them those of one holder: whoever proves nothing leaves room to watch others. */
const watchedOfHolderMax = 1_024;
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

const notAsked: Proof = { result: 'unreachable', why: 'not_asked' };

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

/** Of one holder: what it is asked about in one look, and what there was no room for. */
interface Due {
  bytes: number;
  readonly asked: Watched[];
  readonly rest: Watched[];
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
  readonly #watchedOf = new Map<NodeId, number>();
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
    const ofHolder = this.#watchedOf.get(node) ?? 0;
    if (this.#stopping.signal.aborted || this.#watched.has(name)) return;
    if (this.#watched.size >= watchedMax || ofHolder >= watchedOfHolderMax) return;
    this.#watchedOf.set(node, ofHolder + 1);
    const sinceMs = this.#dependencies.clock.monotonicMs();
    const waitMs = Math.max(waitMsMin, this.#delayMs * firstWaitShare);
    this.#watched.set(name, { node, content, sinceMs, looks: 0, waitMs, dueMs: sinceMs + waitMs, isBroken: false });
    this.#plan(sinceMs + waitMs);
  }

  /** A holder has answered about a copy, whatever it said. */
  answered(node: NodeId, manifest: BlobHash): void {
    if (this.#unwatch(node, manifest)) this.#gauge.set(this.#watched.size);
  }

  async stop(): Promise<void> {
    this.#stopping.abort(new MeshError('shutting_down', 'the node is stopping'));
    this.#cancelTimer?.();
    await this.#looking;
  }

  #unwatch(node: NodeId, manifest: BlobHash): boolean {
    if (!this.#watched.delete(nameOf(node, manifest))) return false;
    const left = (this.#watchedOf.get(node) as number) - 1;
    if (left === 0) this.#watchedOf.delete(node);
    else this.#watchedOf.set(node, left);
    return true;
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
    const { isOnline, prover, note, onUnproved, onWanting } = this.#dependencies;
    const looked = await Promise.all(
      Array.from(this.#due(), async ([node, { asked, rest }]) => {
        const contents = asked.map(({ content }) => content);
        const proofs = await prover.sample(node, contents, this.#stopping.signal);
        // A holder that answers nothing at all lets pass what there was no room to ask as well: it would take hours in turns.
        const isSilent = proofs.some(({ why }) => why === 'late');
        return [...asked, ...(isSilent ? rest : [])].map((watched, index) => {
          return { watched, finding: this.#findingOf(watched, proofs[index] ?? notAsked, isSilent) };
        });
      }),
    );
    const unproved: UnprovedCopy[] = [];
    let isWanting = false;
    for (const { watched, finding } of looked.flat()) {
      const { node, content } = watched;
      // What was heard of the copy meanwhile is newer than this look.
      if (finding === undefined || this.#watched.get(nameOf(node, content.manifest)) !== watched) continue;
      this.#unwatch(node, content.manifest);
      // A holder that has gone offline meanwhile was no more able to answer than one that was offline before.
      if (finding === 'unproved' && !isOnline(node)) continue;
      note(node, content.manifest, finding);
      if (finding === 'unproved') unproved.push({ node, manifest: content.manifest });
      isWanting ||= finding !== 'proved';
    }
    if (unproved.length > 0) onUnproved(unproved);
    if (isWanting) onWanting();
  }

  /** What is due of each holder; whoever is offline is watched no more. */
  #due(): ReadonlyMap<NodeId, Due> {
    const { clock, isOnline } = this.#dependencies;
    const nowMs = clock.monotonicMs();
    const byNode = new Map<NodeId, Due>();
    for (const watched of this.#watched.values()) {
      if (watched.dueMs > nowMs) continue;
      const { node, content } = watched;
      if (!isOnline(node)) {
        this.#unwatch(node, content.manifest);
        continue;
      }
      const due = byNode.get(node) ?? { bytes: 0, asked: [], rest: [] };
      byNode.set(node, due);
      const hasRoom = due.asked.length < lookedMax && due.bytes < lookedBytesMax;
      if (hasRoom) due.bytes += readBytesOf(content.sizeBytes, [0, 0, 0]);
      (hasRoom ? due.asked : due.rest).push(watched);
    }
    return byNode;
  }

  /** What a look came to; undefined while the copy is to be looked at again. */
  #findingOf(watched: Watched, { result, why }: Proof, isSilent: boolean): CopyFinding | undefined {
    if (result !== 'unreachable') return result;
    // That it could not be asked says nothing, and is no look; unless that is since it let another question of this look pass.
    if (why !== 'not_asked' || isSilent) {
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
