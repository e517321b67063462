import type { BlobHash, NodeId } from '../../crdt/ids.ts';
import { smallBlobBytesMax } from '../node/content/content-store.ts';
import type { Clock } from '../ports/clock.ts';
import type { Absent } from './absences.ts';
import type { PlacementDirectory } from './placement-directory.ts';
import type { Proof, ProvedContent, ReplicaProver } from './replica-prover.ts';

/** Contents whose leases are remembered; the oldest are forgotten first, and asked for again. */
const contentsMax = 16_384;
/** For how long a holder that gave no lease at all is asked for proofs alone: some of its leases are over then. */
const leaselessMs = 60_000;
/** For how long a content that could not be proved whole is asked for by itself, and how many of those are remembered. */
const singledOutMs = 60_000;
const singledOutMax = 4_096;

/** A write's content, and what says where it belongs. */
export type ChallengedWrite = ProvedContent & { readonly ns: string; readonly key: string };

export interface WriteChallengesDependencies {
  readonly prover: Pick<ReplicaProver, 'sample' | 'bind'>;
  readonly placement: PlacementDirectory;
  readonly absent: () => Absent;
  readonly self: NodeId;
  readonly clock: Clock;
}

const nobody: ReadonlyMap<NodeId, number> = new Map();

/**
 * How the holders of writes are made to prove them. Of what stays here as well, or is large, they show some chunks. A small
 * content that this node is going to drop they prove whole and under a lease at once: that is a proof as well, and the drop
 * needs no other while the leases run.
 */
export class WriteChallenges {
  readonly #dependencies: WriteChallengesDependencies;
  readonly #bound = new Map<BlobHash, Map<NodeId, number>>();
  readonly #leaselessUntilMs = new Map<NodeId, number>();
  /** Contents that a holder did not prove whole though it proved others, or that this node could not read. */
  readonly #singledUntilMs = new Map<string, number>();

  constructor(dependencies: WriteChallengesDependencies) {
    this.#dependencies = dependencies;
  }

  /** Has a node prove each of these, in their order. Never rejects. */
  async prove(node: NodeId, writes: readonly ChallengedWrite[]): Promise<Proof[]> {
    const { prover } = this.#dependencies;
    const givesLeases = this.#givesLeases(node);
    const { surplus = [], others = [] } = Object.groupBy(writes, (write) =>
      givesLeases && this.#isSmallSurplus(write) && !this.#isSingledOut(node, write) ? 'surplus' : 'others',
    );
    const [bound, sampled] = await Promise.all([
      surplus.length === 0 ? [] : this.#bind(node, surplus),
      others.length === 0 ? [] : prover.sample(node, others),
    ]);
    const proofs = new Map<ChallengedWrite, Proof>();
    for (const [index, proof] of bound.entries()) proofs.set(surplus[index] as ChallengedWrite, proof);
    for (const [index, proof] of sampled.entries()) proofs.set(others[index] as ChallengedWrite, proof);
    return writes.map((write) => proofs.get(write) as Proof);
  }

  /** Until when nodes are bound to keep a content that they have proved whole, on this node's monotonic clock. */
  boundUntilMs(manifest: BlobHash): ReadonlyMap<NodeId, number> {
    return this.#bound.get(manifest) ?? nobody;
  }

  forget(manifest: BlobHash): void {
    this.#bound.delete(manifest);
  }

  /** Relies on nothing that a node has proved so far: it was disconnected, and may come back without its disk. */
  forgetNode(node: NodeId): void {
    for (const nodes of this.#bound.values()) nodes.delete(node);
  }

  async #bind(node: NodeId, writes: readonly ChallengedWrite[]): Promise<Proof[]> {
    const { prover, clock } = this.#dependencies;
    const proofs = await prover.bind(node, writes);
    for (const [index, { boundUntilMs }] of proofs.entries()) {
      if (boundUntilMs !== undefined) this.#note((writes[index] as ChallengedWrite).manifest, node, boundUntilMs);
    }
    // What is not proved under a lease may be proved without one all the same: confirmations wait for that. It has none to
    // give for now, or something is amiss with single contents, which are not to keep the others from being bound.
    const failed = writes.filter((_, index) => proofs[index]?.result === 'unreachable');
    if (failed.length > 1 && failed.length === writes.length) {
      this.#leaselessUntilMs.set(node, clock.monotonicMs() + leaselessMs);
    } else for (const write of failed) this.#singleOut(node, write);
    return proofs;
  }

  #singleOut(node: NodeId, { manifest }: ChallengedWrite): void {
    const name = `${manifest} ${node}`;
    this.#singledUntilMs.delete(name);
    this.#singledUntilMs.set(name, this.#dependencies.clock.monotonicMs() + singledOutMs);
    for (const oldest of this.#singledUntilMs.keys()) {
      if (this.#singledUntilMs.size <= singledOutMax) break;
      this.#singledUntilMs.delete(oldest);
    }
  }

  #isSingledOut(node: NodeId, { manifest }: ChallengedWrite): boolean {
    if (this.#singledUntilMs.size === 0) return false;
    const name = `${manifest} ${node}`;
    const untilMs = this.#singledUntilMs.get(name);
    if (untilMs === undefined) return false;
    if (untilMs > this.#dependencies.clock.monotonicMs()) return true;
    this.#singledUntilMs.delete(name);
    return false;
  }

  #note(manifest: BlobHash, node: NodeId, untilMs: number): void {
    const known = this.#bound.get(manifest) ?? new Map<NodeId, number>();
    this.#bound.delete(manifest);
    this.#bound.set(manifest, known.set(node, untilMs));
    for (const oldest of this.#bound.keys()) {
      if (this.#bound.size <= contentsMax) break;
      this.#bound.delete(oldest);
    }
  }

  #givesLeases(node: NodeId): boolean {
    const untilMs = this.#leaselessUntilMs.get(node);
    if (untilMs === undefined) return true;
    if (untilMs > this.#dependencies.clock.monotonicMs()) return false;
    this.#leaselessUntilMs.delete(node);
    return true;
  }

  /** Where the policy cannot be met nothing is dropped, and no lease is of use. */
  #isSmallSurplus({ ns, key, sizeBytes }: ChallengedWrite): boolean {
    if (sizeBytes > smallBlobBytesMax) return false;
    const { placement, absent, self } = this.#dependencies;
    const { desired, substitutes } = placement.assigned(ns, key, absent().gone);
    return desired.lacks.length === 0 && !desired.holders.includes(self) && !substitutes.includes(self);
  }
}
