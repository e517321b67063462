import type { BlobHash, NodeId } from '../../crdt/ids.ts';
import type { DropOutcome } from '../node/content/content-plane.ts';
import type { Clock } from '../ports/clock.ts';
import type { Kv, KvTransaction } from '../ports/kv.ts';
import type { Log } from '../ports/log.ts';
import type { Counter, Metrics } from '../ports/metrics.ts';
import type { Absent, NodeLiveness } from './absences.ts';
import type { Leases } from './leases.ts';
import { type DropRefusal, mayDrop } from './may-drop.ts';
import type { PlacementDirectory } from './placement-directory.ts';
import type { ContentShelf } from './proof-giver.ts';
import { groupsOf, type ProvedContent, type ReplicaProver } from './replica-prover.ts';
import { referencesMax, type SubjectIndex } from './subject-index.ts';

/** Contents dropped in one transaction. */
const droppedPerTurnMax = 64;
/** What a lease that was given before must still have to run to be relied on: one that is older is asked for again, of a disk that may have changed. */
const leaseLeftMsMin = 45_000;
/** Nor is one relied on whose giver was not heard of for so long: it may have lost power with no connection that broke. */
const silentMsMax = 10_000;

const nobody: ReadonlySet<NodeId> = new Set();

/**
 * What became of the wish to drop a content. `changed`: versions come too fast to be looked at, or one cannot be read for
 * now; it can be tried again. `unmet_policy`: the policy asks for more than the nodes there are could prove, neither now
 * nor once those that are gone are back, so every copy stays.
 */
export type DropResult = 'dropped' | 'absent' | 'changed' | 'unmet_policy' | DropRefusal;

export interface ContentDropperDependencies {
  readonly kv: Kv;
  readonly clock: Clock;
  readonly subjects: SubjectIndex;
  readonly placement: PlacementDirectory;
  readonly absent: () => Absent;
  readonly prover: ReplicaProver;
  readonly leases: Leases;
  readonly liveness: Pick<NodeLiveness, 'silentForMs' | 'isDoubtful'>;
  readonly shelf: ContentShelf;
  /** Drops a content in the caller's transaction. */
  readonly drop: (transaction: KvTransaction, manifest: BlobHash) => DropOutcome;
  /** Contents were dropped, durably: their blobs can go. */
  readonly dropped: () => void;
  readonly self: NodeId;
  readonly log: Log;
  readonly metrics: Metrics;
}

/**
 * Drops contents that this node need not hold, each only after enough others have proved every chunk of it just now and
 * are bound to keep it (`mayDrop`). Whatever drops a content for replication goes through here.
 */
export class ContentDropper {
  readonly #dependencies: ContentDropperDependencies;
  readonly #results: Counter;
  /** What drops under way count on: for each content, who has proved it, and until when each is bound. */
  readonly #collected = new Set<ReadonlyMap<BlobHash, Map<NodeId, number>>>();

  constructor(dependencies: ContentDropperDependencies) {
    this.#dependencies = dependencies;
    this.#results = dependencies.metrics.counter({
      name: 'anabranch_replica_drops_total',
      help: 'Contents that this node wanted to drop, by what became of it.',
      labels: ['result'],
    });
  }

  /** A node was disconnected, and may come back without its disk: no drop under way counts on what it has proved. */
  nodeGone(node: NodeId): void {
    for (const proofs of this.#collected) for (const nodes of proofs.values()) nodes.delete(node);
  }

  /**
   * Drops those of the contents that it may; resolves with what became of each. Who has proved one whole and is bound to
   * keep it (`boundUntilMs`, on this node's monotonic clock) need not do so again. Rejects as the store does.
   */
  async drop(
    manifests: readonly BlobHash[],
    boundUntilMs: (manifest: BlobHash) => ReadonlyMap<NodeId, number> = () => new Map(),
  ): Promise<Map<BlobHash, DropResult>> {
    const { subjects } = this.#dependencies;
    const results = new Map<BlobHash, DropResult>();
    await subjects.catchUp();
    const contents: ProvedContent[] = [];
    for (const manifest of new Set(manifests)) {
      // Asked before anybody is made to read.
      const refusal = this.#foreseen(manifest);
      const sizeBytes = this.#dependencies.shelf.sizeOf(this.#dependencies.kv, manifest);
      if (sizeBytes === undefined) results.set(manifest, 'absent');
      else if (refusal !== undefined) results.set(manifest, refusal);
      else contents.push({ manifest, sizeBytes });
    }
    // No more at a time than one message asks about, so that the first leases still run when the last proof is here.
    for (const group of groupsOf(contents)) {
      const proofs = new Map(group.map(({ manifest }) => [manifest, new Map<NodeId, number>()] as const));
      this.#collected.add(proofs);
      try {
        await this.#collect(group, boundUntilMs, proofs);
        // Collecting takes long where contents are large: what was written meanwhile is in the index before it is judged.
        await subjects.catchUp();
        for (let start = 0; start < group.length; start += droppedPerTurnMax) {
          const part = group.slice(start, start + droppedPerTurnMax);
          for (const [manifest, result] of await this.#dropSome(part, proofs)) results.set(manifest, result);
          this.#dependencies.dropped();
        }
      } finally {
        this.#collected.delete(proofs);
      }
    }
    for (const result of results.values()) this.#results.add(1, { result });
    return results;
  }

  #dropSome(
    contents: readonly ProvedContent[],
    proofs: ReadonlyMap<BlobHash, ReadonlyMap<NodeId, number>>,
  ): Promise<(readonly [BlobHash, DropResult])[]> {
    const { kv, subjects, drop, log } = this.#dependencies;
    return kv.transact((transaction) => {
      const fresh = subjects.newContents(transaction);
      return contents.map(({ manifest }) => {
        if (fresh === undefined || fresh.has(manifest)) return [manifest, 'changed'] as const;
        const refusal = this.#judge(manifest, this.#believed(proofs.get(manifest)));
        if (refusal !== undefined) return [manifest, refusal] as const;
        const outcome = drop(transaction, manifest);
        if (outcome === 'dropped')
          log.info('content:dropped', { manifest, provedBy: [...(proofs.get(manifest)?.keys() ?? [])] });
        return [manifest, outcome === 'leased' ? 'bound' : outcome] as const;
      });
    });
  }

  /** Has every node that may hold one of the contents prove it, and bound to keep it, unless it is for long enough. */
  async #collect(
    contents: readonly ProvedContent[],
    boundUntilMs: (manifest: BlobHash) => ReadonlyMap<NodeId, number>,
    proofs: ReadonlyMap<BlobHash, Map<NodeId, number>>,
  ): Promise<void> {
    const reliedOnMs = this.#dependencies.clock.monotonicMs() + leaseLeftMsMin;
    for (const [manifest, nodes] of proofs) {
      for (const [node, untilMs] of boundUntilMs(manifest)) {
        if (untilMs >= reliedOnMs && this.#isHeard(node)) nodes.set(node, untilMs);
      }
    }
    const questions = contents.flatMap((content) =>
      Array.from(this.#others(content.manifest), (node) => ({ node, content })).filter(
        ({ node }) => proofs.get(content.manifest)?.has(node) !== true,
      ),
    );
    const byNode = Map.groupBy(questions, ({ node }) => node);
    await Promise.all(
      Array.from(byNode, async ([node, asked]) => {
        const group = asked.map(({ content }) => content);
        const answers = await this.#dependencies.prover.bind(node, group);
        for (const [index, { boundUntilMs }] of answers.entries()) {
          const { manifest } = group[index] as ProvedContent;
          if (boundUntilMs === undefined) continue;
          proofs.get(manifest)?.set(node, boundUntilMs);
        }
      }),
    );
  }

  #isHeard(node: NodeId): boolean {
    return (this.#dependencies.liveness.silentForMs(node) ?? Number.POSITIVE_INFINITY) <= silentMsMax;
  }

  /** The proofs of those that are alive as far as heartbeats tell: who fell silent meanwhile may be gone with its disk. */
  #believed(proofs: ReadonlyMap<NodeId, number> = new Map()): ReadonlyMap<NodeId, number> {
    return new Map([...proofs].filter(([node]) => !this.#dependencies.liveness.isDoubtful(node)));
  }

  /**
   * Why no drop would come of it even if all who are to hold the content now proved it; undefined when one might. Who is
   * gone proves nothing, and nobody stands in for who is back, so the two are never counted together: where the proofs of
   * all desired holders would do, a drop is tried again when they are there; where those would not either, never.
   */
  #foreseen(manifest: BlobHash): DropResult | undefined {
    const { gone } = this.#dependencies.absent();
    const refusal = this.#judge(manifest, everybody(this.#others(manifest)));
    if (refusal === undefined || !isForWantOfProofs(refusal)) return refusal;
    const isMetByAll =
      gone.size > 0 && this.#judge(manifest, everybody(this.#others(manifest, nobody)), nobody) === undefined;
    return isMetByAll ? refusal : 'unmet_policy';
  }

  /** The other nodes that are to hold a content and are not gone, whichever of its versions says so. */
  #others(manifest: BlobHash, gone = this.#dependencies.absent().gone): Set<NodeId> {
    const { subjects, placement, self } = this.#dependencies;
    const nodes = new Set<NodeId>();
    for (const { ns, key } of subjects.subjectsOf(manifest)) {
      const { desired, substitutes } = placement.assigned(ns, key, gone);
      for (const node of [...desired.holders, ...substitutes]) if (!gone.has(node)) nodes.add(node);
    }
    nodes.delete(self);
    return nodes;
  }

  #judge(
    manifest: BlobHash,
    provedUntilMs: ReadonlyMap<NodeId, number>,
    gone = this.#dependencies.absent().gone,
  ): DropRefusal | undefined {
    const { subjects, placement, leases, clock, self } = this.#dependencies;
    const referring = subjects.subjectsOf(manifest);
    if (referring.length >= referencesMax) return 'wanted_here';
    return mayDrop({
      self,
      subjects: referring,
      placement: placement.map(),
      gone,
      isBound: leases.isBound(manifest),
      provedUntilMs,
      nowMs: clock.monotonicMs(),
    });
  }
}

/** Refusals that more proofs may do away with. */
function isForWantOfProofs(refusal: DropRefusal): boolean {
  return refusal === 'too_few_proofs' || refusal === 'too_little_diversity';
}

function everybody(nodes: Iterable<NodeId>): Map<NodeId, number> {
  return new Map(Array.from(nodes, (node) => [node, Number.POSITIVE_INFINITY]));
}
