import type { BlobHash, NodeId } from '../../crdt/ids.ts';
import { endsWithin } from '../../protocols/wire/deadline.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import { MeshError } from '../ports/mesh-error.ts';
import type { Absent } from './absences.ts';
import { CompactHashes } from './compact-hashes.ts';
import type { PlacementDirectory } from './placement-directory.ts';
import type { ReplicaIndex } from './replica-index.ts';
import type { ProvedContent, ReplicaProver } from './replica-prover.ts';
import type { SubjectIndex } from './subject-index.ts';

/** How far a node that drains has come, as the replica index knows it. */
export interface DrainProgress {
  /** Contents it has. */
  readonly contents: number;
  /** Of these, those that not all who are to hold them without it have proved yet, and their bytes; none when it can be switched off. */
  readonly remaining: number;
  readonly remainingBytes: number;
  /** Documents with a version that cannot be read here: any content could be its, so this account is not to be relied on. */
  readonly unreadable: number;
}

/** Copies that one look has proved. */
const sampledMax = 4_096;
/** How long a look waits for their proofs; what comes later is for the next one. */
const sampledMsMax = 20_000;
/** Copies whose proofs are remembered of all drains: 45 to 90 megabytes. What is past it is never called proved. */
const provedMax = 2_097_152;
/** A content that no version is known to have for so long has none: the node that holds it has told of its versions by then. */
const orphanMs = 5 * 60_000;
/** Contents without a version that are remembered of one drain; past it they remain. */
const orphansMax = 65_536;

export interface DrainSurveysDependencies {
  readonly index: ReplicaIndex;
  readonly subjects: SubjectIndex;
  readonly placement: PlacementDirectory;
  readonly prover: Pick<ReplicaProver, 'sample' | 'sampleOwn'>;
  readonly absent: () => Absent;
  /** Whether a node can be asked now. */
  readonly isReachable: (node: NodeId) => boolean;
  readonly isDraining: (node: NodeId) => boolean;
  readonly self: NodeId;
  readonly clock: Clock;
  readonly log: Log;
}

/** What is known of one drain. It counts from when this node first looked, so nothing of it is older than the drain. */
class Survey {
  readonly proved = new Map<NodeId, CompactHashes>();
  /** Contents that no version is known to have, and since when. */
  readonly orphans = new Map<BlobHash, number>();
  sampling: Promise<void> | undefined;

  get provedCount(): number {
    return Array.from(this.proved.values(), ({ size }) => size).reduce((sum, size) => sum + size, 0);
  }
}

/** Who is not there, at one look. */
interface Present {
  readonly gone: ReadonlySet<NodeId>;
  readonly isOnline: (node: NodeId) => boolean;
  /** Every version can be read here. */
  readonly isSound: boolean;
}

/** A content that nothing but proofs keeps from being elsewhere: those of these nodes. */
interface Unproved {
  readonly content: ProvedContent;
  readonly holders: readonly NodeId[];
}

/**
 * Watches nodes that drain: whether everything on them is where it is to be without them. Whoever is to hold a content, or
 * stands in for one that is gone, must be online, say that it has it, and have proved it since the drain began. What was
 * proved before says nothing of the disk it will be left to.
 */
export class DrainSurveys {
  readonly #dependencies: DrainSurveysDependencies;
  readonly #surveys = new Map<NodeId, Survey>();

  constructor(dependencies: DrainSurveysDependencies) {
    this.#dependencies = dependencies;
  }

  /** The control log has grown: what was proved for a drain that is over is nothing for the next. */
  controlChanged(): void {
    const { isDraining } = this.#dependencies;
    for (const node of this.#surveys.keys()) if (!isDraining(node)) this.#surveys.delete(node);
  }

  /** How far a node has come. Has some of the copies proved that are not yet, when it drains. In bounded turns. */
  async look(node: NodeId): Promise<DrainProgress> {
    const { index, subjects, log } = this.#dependencies;
    await subjects.catchUp();
    const unreadable = subjects.unreadable();
    if (unreadable > 0) log.warn('drain:versions_unreadable', { node, documents: unreadable });
    const survey = this.#surveyOf(node);
    const present = this.#present();
    if (!present.isOnline(node) || !present.isSound) survey.orphans.clear();
    let contents = 0;
    let [remaining, remainingBytes] = [0, 0];
    const unproved: Unproved[] = [];
    for await (const { manifest, sizeBytes } of index.contentsOf(node)) {
      contents += 1;
      const lacking = this.#lackingOf(node, manifest, survey, present);
      if (lacking?.length === 0) continue;
      remaining += 1;
      remainingBytes += sizeBytes;
      const isSampled = lacking !== undefined && unproved.length < sampledMax;
      if (isSampled) unproved.push({ content: { manifest, sizeBytes }, holders: lacking });
    }
    await this.#haveProved(node, survey, unproved);
    const after = this.#present();
    for (const { content } of unproved) {
      if (this.#lackingOf(node, content.manifest, survey, after)?.length !== 0) continue;
      remaining -= 1;
      remainingBytes -= content.sizeBytes;
    }
    return { contents, remaining, remainingBytes, unreadable };
  }

  /** Only a drain is remembered. */
  #surveyOf(node: NodeId): Survey {
    const survey = this.#surveys.get(node) ?? new Survey();
    if (this.#dependencies.isDraining(node)) this.#surveys.set(node, survey);
    return survey;
  }

  #present(): Present {
    const { absent, isReachable, subjects } = this.#dependencies;
    const { gone, away } = absent();
    const isOnline = (node: NodeId): boolean => !gone.has(node) && !away.has(node) && isReachable(node);
    return { gone, isOnline, isSound: subjects.unreadable() === 0 };
  }

  /** Who has not proved a content that is otherwise where it is to be without a node; undefined when it is not there. */
  #lackingOf(
    node: NodeId,
    manifest: BlobHash,
    survey: Survey,
    { gone, isOnline, isSound }: Present,
  ): readonly NodeId[] | undefined {
    const { index, subjects, placement } = this.#dependencies;
    const referring = subjects.subjectsOf(manifest);
    if (referring.length === 0) return this.#isOrphan(manifest, survey, isSound) ? [] : undefined;
    survey.orphans.delete(manifest);
    const needed = new Set<NodeId>();
    for (const { ns, key } of referring) {
      const { desired, substitutes } = placement.assigned(ns, key, gone);
      const targets = [...desired.holders.filter((holder) => !gone.has(holder)), ...substitutes];
      // Without enough who could hold it, this copy may be one of those that there are to be.
      if (targets.length === 0 || targets.length < desired.holders.length) return undefined;
      for (const target of targets) needed.add(target);
    }
    if (needed.has(node)) return undefined;
    const there = new Set(index.holders(manifest).flatMap(({ nodeId, isSuspect }) => (isSuspect ? [] : [nodeId])));
    const targets = [...needed];
    if (!targets.every((target) => there.has(target) && isOnline(target))) return undefined;
    return targets.filter((target) => survey.proved.get(target)?.has(manifest) !== true);
  }

  /** A version of which this node has not heard, or which it cannot read, may have the content. */
  #isOrphan(manifest: BlobHash, { orphans }: Survey, isSound: boolean): boolean {
    if (!isSound) return false;
    const nowMs = this.#dependencies.clock.monotonicMs();
    const sinceMs = orphans.get(manifest) ?? nowMs;
    if (orphans.size < orphansMax) orphans.set(manifest, sinceMs);
    return nowMs - sinceMs >= orphanMs;
  }

  /** Has the copies proved, and waits for that, if not for long. What an earlier look began goes first. */
  async #haveProved(node: NodeId, survey: Survey, unproved: readonly Unproved[]): Promise<void> {
    const { isDraining, clock, log } = this.#dependencies;
    if (!isDraining(node)) return;
    if (unproved.length > 0) {
      survey.sampling ??= this.#sample(survey, unproved)
        .catch((error: unknown) => {
          if (error instanceof MeshError && error.code === 'shutting_down') return;
          log.warn('drain:not_sampled', { node, error });
        })
        .finally(() => {
          survey.sampling = undefined;
        });
    }
    if (survey.sampling !== undefined) await endsWithin(clock, sampledMsMax, survey.sampling);
  }

  async #sample(survey: Survey, unproved: readonly Unproved[]): Promise<void> {
    const { prover, index, self } = this.#dependencies;
    const questions = unproved
      .flatMap(({ content, holders }) => holders.map((holder) => ({ holder, content })))
      .slice(0, sampledMax);
    let room = provedMax - Array.from(this.#surveys.values(), (each) => each.provedCount).reduce(add, 0);
    await Promise.all(
      Array.from(
        Map.groupBy(questions, ({ holder }) => holder),
        async ([holder, asked]) => {
          const group = asked.map(({ content }) => content);
          // What this node holds itself it reads: that it was whole once says nothing of the disk now.
          const proofs = await (holder === self ? prover.sampleOwn(self, group) : prover.sample(holder, group));
          for (const [at, { result }] of proofs.entries()) {
            const { manifest } = group[at] as ProvedContent;
            if (result !== 'unreachable' && holder !== self) index.note(holder, manifest, result);
            if (result !== 'proved' || room-- <= 0) continue;
            const known = survey.proved.get(holder) ?? new CompactHashes();
            known.add(manifest);
            survey.proved.set(holder, known);
          }
        },
      ),
    );
  }
}

function add(left: number, right: number): number {
  return left + right;
}
