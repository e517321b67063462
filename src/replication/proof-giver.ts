import type { BlobHash, NodeId, PeerId } from '../../crdt/ids.ts';
import { chunksInRange, decodeManifest } from '../../crdt/manifest.ts';
import { ReplicaProof } from '../../crdt/replica-proof.ts';
import type { ProofAnswer } from '../../protocols/replicas/messages.ts';
import type { Challenge, ChallengeGroup } from '../../protocols/replicas/server.ts';
import { withDeadline } from '../../protocols/wire/deadline.ts';
import { ByteBudget } from '../node/content/byte-budget.ts';
import { smallBlobBytesMax } from '../node/content/content-store.ts';
import { type ByteRange, loadRoot, manifestBytesGuess, walkChunks } from '../node/content/manifest-walk.ts';
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
/** What a disk reads in a millisecond at least, if slowly. */
export const slowBytesPerMs = 5_000;
/** How long reading one content may take beside that, its turn included: a disk that hangs is not waited for. */
const patienceMs = 20_000;
/** Bytes read between two turns of the event loop, where reads need none themselves. */
const bytesPerTurnMax = 128 * 1024;
/** Contents bound in one transaction. */
const boundPerTurnMax = 64;

/** The contents of this node, as proofs need them. */
export interface ContentShelf {
  /** Bytes of a content that is here whole; undefined for any other. Within a transaction, as that sees it. */
  sizeOf(reader: KvReader, manifest: BlobHash): number | undefined;
  /** The verified bytes of a chunk or a manifest as they are on disk, or undefined when it is not here intact. */
  lend(hash: BlobHash, sizeBytes?: number): Uint8Array | undefined | Promise<Uint8Array | undefined>;
  /** Takes back what was lent: nobody reads it any more. Need not be called. */
  giveBack(bytes: Uint8Array): void;
  /** A content was found to lack something: if it is called whole here all the same, it is looked at, and wanted again. */
  doubt?(manifest: BlobHash): void;
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

/** What of a content is read to prove it: everything, or what some points lie in. */
export function readBytesOf(sizeBytes: number, points: readonly number[] | undefined): number {
  return points === undefined ? sizeBytes : Math.min(sizeBytes, points.length * chunkBytes);
}

/** What became of binding this node to keep a content. */
type Binding = 'bound' | 'refused' | 'absent';

/** A content that is here, and the challenge that it is read for. */
interface Reading {
  readonly prover: PeerId;
  readonly nonce: Uint8Array;
  readonly challenge: Challenge;
  readonly sizeBytes: number;
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
  /** Reads that nobody waits for any more, and that have not ended. */
  #hanging = 0;
  /** Bytes read since the event loop had a turn, by reads that need none themselves. */
  #sinceTurn = 0;

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
      const answer = unbound(bound?.[index]) ?? (await this.#answer(peer, nonce, challenge));
      this.#given.add(1, { outcome: answer instanceof Uint8Array ? 'proved' : answer });
      answers.push(answer);
    }
    return answers;
  }

  /** What a peer that has the same bytes answers to a challenge; undefined when they cannot be read here whole and intact. */
  async expected(prover: PeerId, nonce: Uint8Array, challenge: Challenge): Promise<Uint8Array | undefined> {
    const { kv, shelf } = this.#dependencies;
    const sizeBytes = shelf.sizeOf(kv, challenge.manifest);
    if (sizeBytes === undefined) return undefined;
    try {
      const read = { prover, nonce, challenge, sizeBytes };
      const atOnce = this.#proofAtOnce(read);
      if (atOnce !== undefined) return await this.#givingTurns(atOnce);
      return await this.#inTime(read, (signal) => this.#proof(read, signal));
    } catch (error) {
      if (!isTimeout(error)) throw error;
      this.#dependencies.log.warn('proofs:not_read', { manifest: challenge.manifest, error });
      return undefined;
    }
  }

  /** What is not here when a lease is asked for has none, whatever comes later. */
  async #bind(node: NodeId | undefined, items: readonly Challenge[], leaseMs: number): Promise<Binding[]> {
    const { kv, leases, shelf } = this.#dependencies;
    // A stranger is no member that could drop anything.
    if (node === undefined) return items.map(() => 'refused');
    const bound: Binding[] = [];
    for (let start = 0; start < items.length; start += boundPerTurnMax) {
      const part = items.slice(start, start + boundPerTurnMax);
      bound.push(
        ...(await kv.transact((transaction) =>
          part.map(({ manifest }): Binding => {
            if (shelf.sizeOf(transaction, manifest) === undefined) return 'absent';
            return leases.grant(transaction, manifest, node, leaseMs) ? 'bound' : 'refused';
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
    if (!this.#allow(peer, readBytesOf(sizeBytes, challenge.points))) return 'busy';
    try {
      const read = { prover: localPeer, nonce, challenge, sizeBytes };
      const atOnce = this.#proofAtOnce(read);
      if (atOnce !== undefined) return await this.#givingTurns(atOnce);
      const proof = await this.#inTime(read, async (signal) => {
        const giveBack = await this.#reading.take(1);
        try {
          return await this.#proof(read, signal);
        } finally {
          giveBack();
        }
      });
      return proof ?? 'lacking';
    } catch (error) {
      log.warn('proofs:not_given', { manifest: challenge.manifest, error });
      return 'busy';
    }
  }

  /**
   * Reads a content for as long as a slow disk takes, and no longer. Rejects with `MeshError` `timeout` then; at once while
   * as many reads hang as may run, since each of them holds one of the few threads there are for files.
   */
  async #inTime<T>({ challenge, sizeBytes }: Reading, read: (signal: AbortSignal) => Promise<T>): Promise<T> {
    if (this.#hanging >= readAtOnceMax) throw new MeshError('timeout', 'the disk does not answer');
    const bytes = readBytesOf(sizeBytes, challenge.points);
    return withDeadline(this.#dependencies.clock, patienceMs + bytes / slowBytesPerMs, async (signal) => {
      let isHanging = false;
      const hang = (): void => {
        isHanging = true;
        this.#hanging += 1;
      };
      signal.addEventListener('abort', hang, { once: true });
      try {
        return await read(signal);
      } finally {
        if (isHanging) this.#hanging -= 1;
      }
    });
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

  /**
   * The proof of a small content whose blobs are rows, which are read without waiting: no deadline and no place among those
   * that read files is needed. Undefined where that is not so, or something is amiss, which `#proof` then finds out.
   */
  #proofAtOnce({ prover, nonce, challenge, sizeBytes }: Reading): Uint8Array | undefined {
    if (sizeBytes > smallBlobBytesMax || this.#hanging >= readAtOnceMax) return undefined;
    const { manifest, points } = challenge;
    const bytes = this.#readAtOnce(manifest, manifestBytesGuess(sizeBytes));
    const root = bytes === undefined ? undefined : decodeManifest(bytes);
    if (bytes === undefined || root?.ok !== true || root.value.kind !== 'leaf') return undefined;
    const proof = new ReplicaProof({ nonce, prover, manifest });
    proof.add(manifest, bytes);
    for (const { start, end } of rangesOf(points, sizeBytes)) {
      for (const { hash, size } of chunksInRange(root.value.chunks, start, end)) {
        const chunk = this.#readAtOnce(hash, size);
        if (chunk === undefined) return undefined;
        proof.add(hash, chunk);
      }
    }
    return proof.digest();
  }

  #readAtOnce(hash: BlobHash, sizeBytes: number): Uint8Array | undefined {
    const read = this.#dependencies.shelf.lend(hash, sizeBytes);
    if (read instanceof Promise) {
      // It is being put aside, or is no row after all: whoever reads it again is told.
      read.catch(() => undefined);
      return undefined;
    }
    this.#sinceTurn += read?.length ?? 0;
    return read;
  }

  /** Lets the event loop have a turn when many contents were read without one. */
  async #givingTurns(proof: Uint8Array): Promise<Uint8Array> {
    if (this.#sinceTurn >= bytesPerTurnMax) {
      this.#sinceTurn = 0;
      await this.#dependencies.clock.sleep(0);
    }
    return proof;
  }

  async #proof({ prover, nonce, challenge, sizeBytes }: Reading, signal: AbortSignal): Promise<Uint8Array | undefined> {
    const { shelf, clock } = this.#dependencies;
    const { manifest, points } = challenge;
    const proof = new ReplicaProof({ nonce, prover, manifest });
    let sinceTurn = 0;
    /** Read last: places are in order, so those in one chunk follow one another, and it is read once for all of them. */
    let chunk: { readonly hash: BlobHash; readonly bytes: Uint8Array } | undefined;
    const load = async (hash: BlobHash, blobBytes?: number): Promise<Uint8Array> => {
      signal.throwIfAborted();
      const bytes = hash === chunk?.hash ? chunk.bytes : await shelf.lend(hash, blobBytes);
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
      for (const range of rangesOf(points, sizeBytes)) {
        for await (const { hash, size } of walkChunks(root, (part) => load(part), range)) {
          const bytes = await load(hash, size);
          if (chunk !== undefined && chunk.bytes !== bytes) shelf.giveBack(chunk.bytes);
          chunk = { hash, bytes };
        }
      }
      if (chunk !== undefined) shelf.giveBack(chunk.bytes);
      return proof.digest();
    } catch (error) {
      const isLacking = error instanceof Lacking || (error instanceof MeshError && error.code === 'corrupt');
      if (!isLacking) throw error;
      shelf.doubt?.(manifest);
      return undefined;
    }
  }
}

/** What of a content a challenge asks for. */
function rangesOf(points: readonly number[] | undefined, sizeBytes: number): readonly ByteRange[] {
  return points?.map((point) => ({ start: point, end: point + 1 })) ?? [{ start: 0, end: sizeBytes }];
}

/** How a content that was to be bound and is not is answered; undefined for one that is, or was not to be. */
function unbound(binding: Binding | undefined): 'busy' | 'lacking' | undefined {
  return binding === 'refused' ? 'busy' : binding === 'absent' ? 'lacking' : undefined;
}

function isTimeout(error: unknown): boolean {
  return error instanceof MeshError && error.code === 'timeout';
}

/** A blob of the content is not here, or no longer intact. */
class Lacking extends Error {}
