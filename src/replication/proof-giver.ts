import type { BlobHash, NodeId, PeerId } from '../../crdt/ids.ts';
import { ReplicaProof } from '../../crdt/replica-proof.ts';
import type { ProofAnswer } from '../../protocols/replicas/messages.ts';
import type { Challenge, ChallengeGroup } from '../../protocols/replicas/server.ts';
import { ByteBudget } from '../node/content/byte-budget.ts';
import { loadRoot, walkChunks } from '../node/content/manifest-walk.ts';
import type { Clock } from '../ports/clock.ts';
import type { Kv, KvReader } from '../ports/kv.ts';
import type { Log } from '../ports/log.ts';
import { MeshError } from '../ports/mesh-error.ts';
import type { Counter, Metrics } from '../ports/metrics.ts';
import type { Leases } from './leases.ts';

/** Contents read for proofs at once, in the whole node: reads for clients come first. */
const readAtOnceMax = 2;
/** Bytes read for one peer's challenges a second, and how many it may be ahead of that. */
const bytesPerSecond = 64 * 1024 * 1024;
const burstBytes = 256 * 1024 * 1024;
/** What a challenge costs at least: a manifest and a chunk are looked up. */
const challengeBytesMin = 4 * 1024;
/** A chunk of a sample is counted as this much. */
const chunkBytes = 512 * 1024;
/** Bytes read between two turns of the event loop, where reads need none themselves. */
const bytesPerTurnMax = 128 * 1024;
/** Contents bound in one transaction. */
const boundPerTurnMax = 64;

/** The contents of this node, as proofs need them. */
export interface ContentShelf {
  /** Bytes of a content that is here whole; undefined for any other. Within a transaction, as that sees it. */
  sizeOf(reader: KvReader, manifest: BlobHash): number | undefined;
  /** The verified bytes of a chunk or a manifest as they are on disk, or undefined when it is not here intact. */
  read(hash: BlobHash, sizeBytes?: number): Uint8Array | undefined | Promise<Uint8Array | undefined>;
}

export interface ProofGiverDependencies {
  readonly kv: Kv;
  readonly clock: Clock;
  readonly shelf: ContentShelf;
  readonly leases: Leases;
  /** The member whose key a peer has. */
  readonly nodeOf: (peer: PeerId) => NodeId | undefined;
  readonly localPeer: PeerId;
  readonly log: Log;
  readonly metrics: Metrics;
}

interface Allowance {
  bytes: number;
  atMs: number;
}

/** Proves to others that contents are here, and computes what they must answer to the same. */
export class ProofGiver {
  readonly #dependencies: ProofGiverDependencies;
  readonly #reading = new ByteBudget(readAtOnceMax);
  readonly #allowances = new Map<PeerId, Allowance>();
  readonly #given: Counter;

  constructor(dependencies: ProofGiverDependencies) {
    this.#dependencies = dependencies;
    this.#given = dependencies.metrics.counter({
      name: 'anabranch_replica_proofs_given_total',
      help: 'Challenges of peers about contents of this node, by how they were answered.',
      labels: ['outcome'],
    });
  }

  /** A peer has gone: what it had asked for does not count against the next connection. */
  peerGone(peer: PeerId): void {
    this.#allowances.delete(peer);
  }

  /**
   * Answers a peer's challenges, one outcome for each. With a lease, a content is bound, and that is on disk, before it
   * is read, so that nothing can drop it between its proof and the answer; what cannot be proved then stays bound until
   * the lease runs out, which does no harm.
   */
  async prove(peer: PeerId, { nonce, leaseMs, items }: ChallengeGroup): Promise<ProofAnswer[]> {
    const node = this.#dependencies.nodeOf(peer);
    const bound = leaseMs === undefined ? undefined : await this.#bind(node, items, leaseMs);
    const answers: ProofAnswer[] = [];
    for (const [index, challenge] of items.entries()) {
      const answer = bound?.[index] === false ? 'busy' : await this.#answer(peer, nonce, challenge);
      this.#given.add(1, { outcome: answer instanceof Uint8Array ? 'proved' : answer });
      answers.push(answer);
    }
    return answers;
  }

  /** What a peer that has the same bytes answers to a challenge; undefined when they are not here whole and intact. */
  expected(prover: PeerId, nonce: Uint8Array, challenge: Challenge): Promise<Uint8Array | undefined> {
    return this.#proof(prover, nonce, challenge);
  }

  /** Whether each content could be bound; those that are not here are not, and are found lacking later. */
  async #bind(node: NodeId | undefined, items: readonly Challenge[], leaseMs: number): Promise<boolean[]> {
    const { kv, leases, shelf } = this.#dependencies;
    // A stranger is no member that could drop anything.
    if (node === undefined) return items.map(() => false);
    const bound: boolean[] = [];
    for (let start = 0; start < items.length; start += boundPerTurnMax) {
      const part = items.slice(start, start + boundPerTurnMax);
      bound.push(
        ...(await kv.transact((transaction) =>
          part.map(({ manifest }) => {
            const isHere = shelf.sizeOf(transaction, manifest) !== undefined;
            return !isHere || leases.grant(transaction, manifest, node, leaseMs);
          }),
        )),
      );
    }
    return bound;
  }

  async #answer(peer: PeerId, nonce: Uint8Array, challenge: Challenge): Promise<ProofAnswer> {
    const { kv, shelf, localPeer, log } = this.#dependencies;
    const sizeBytes = shelf.sizeOf(kv, challenge.manifest);
    if (sizeBytes === undefined) return 'lacking';
    const costBytes =
      challenge.points === undefined ? sizeBytes : Math.min(sizeBytes, challenge.points.length * chunkBytes);
    if (!this.#allow(peer, costBytes)) return 'busy';
    const giveBack = await this.#reading.take(1);
    try {
      return (await this.#proof(localPeer, nonce, challenge)) ?? 'lacking';
    } catch (error) {
      log.warn('proofs:not_given', { manifest: challenge.manifest, error });
      return 'busy';
    } finally {
      giveBack();
    }
  }

  /** A peer may run into debt by one content, however large, and then has to wait until that is paid. */
  #allow(peer: PeerId, costBytes: number): boolean {
    const nowMs = this.#dependencies.clock.monotonicMs();
    const known = this.#allowances.get(peer) ?? { bytes: burstBytes, atMs: nowMs };
    known.bytes = Math.min(burstBytes, known.bytes + ((nowMs - known.atMs) / 1_000) * bytesPerSecond);
    known.atMs = nowMs;
    this.#allowances.set(peer, known);
    if (known.bytes <= 0) return false;
    known.bytes -= Math.max(costBytes, challengeBytesMin);
    return true;
  }

  async #proof(prover: PeerId, nonce: Uint8Array, { manifest, points }: Challenge): Promise<Uint8Array | undefined> {
    const { kv, shelf, clock } = this.#dependencies;
    const sizeBytes = shelf.sizeOf(kv, manifest);
    if (sizeBytes === undefined) return undefined;
    const proof = new ReplicaProof({ nonce, prover, manifest });
    let sinceTurn = 0;
    const load = async (hash: BlobHash, blobBytes?: number): Promise<Uint8Array> => {
      const bytes = await shelf.read(hash, blobBytes);
      if (bytes === undefined) throw new Lacking();
      proof.add(hash, bytes);
      sinceTurn += bytes.length;
      if (sinceTurn >= bytesPerTurnMax) {
        sinceTurn = 0;
        await clock.sleep(0);
      }
      return bytes;
    };
    try {
      const root = await loadRoot(manifest, sizeBytes, (hash) => load(hash));
      const ranges = points?.map((point) => ({ start: point, end: point + 1 })) ?? [{ start: 0, end: sizeBytes }];
      for (const range of ranges) {
        for await (const chunk of walkChunks(root, (hash) => load(hash), range)) await load(chunk.hash, chunk.size);
      }
      return proof.digest();
    } catch (error) {
      const isLacking = error instanceof Lacking || (error instanceof MeshError && error.code === 'corrupt');
      if (isLacking) return undefined;
      throw error;
    }
  }
}

/** A blob of the content is not here, or no longer intact. */
class Lacking extends Error {}
