import type { BlobHash, NodeId, PeerId } from '../../crdt/ids.ts';
import { proofNonceBytes } from '../../crdt/replica-proof.ts';
import { challengesMax, leaseMsMax, pointsMax } from '../../protocols/replicas/limits.ts';
import type { ProofAnswer } from '../../protocols/replicas/messages.ts';
import type { Challenge } from '../../protocols/replicas/server.ts';
import { withDeadline } from '../../protocols/wire/deadline.ts';
import { smallBlobBytesMax } from '../node/content/content-store.ts';
import { loadRoot, walkChunks } from '../node/content/manifest-walk.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import { MeshError } from '../ports/mesh-error.ts';
import type { Counter, Metrics } from '../ports/metrics.ts';
import type { Random } from '../ports/random.ts';
import { type ProofGiver, readBytesOf, slowBytesPerMs } from './proof-giver.ts';
import type { ReplicaPeers } from './replica-peers.ts';

/** Bytes of content that one message has a peer read, unless a single content has more. */
const groupBytesMax = 64 * 1024 * 1024;
/** Chunks that a spot check looks at. */
const sampledPoints = 3;
/** How long a holder is waited for beside what reading takes it, and what a lease is asked for at least. */
const patienceMs = 60_000;
/** A holder that did not answer in its time is not asked again for so long: whoever has much to ask would wait for each. */
const silentMs = 60_000;

/**
 * What a challenge came to: the holder has it; says that it has not; answered with something that is no proof; or gave
 * no answer now.
 */
export type ProofResult = 'proved' | 'lacking' | 'wrong' | 'unreachable';

/** A content that somebody is to prove. */
export interface ProvedContent {
  readonly manifest: BlobHash;
  readonly sizeBytes: number;
}

/**
 * Why no answer was had: the holder could not be asked, or what it said could not be judged; it put the question off; it
 * did not answer in its time; or it broke the stream or a transfer off.
 */
export type NoAnswer = 'not_asked' | 'put_off' | 'late' | 'broken';

export interface Proof {
  readonly result: ProofResult;
  /** With `unreachable`. */
  readonly why?: NoAnswer;
  /** With a lease that was given: until when the holder is bound at least, on this node's monotonic clock. */
  readonly boundUntilMs?: number;
}

export interface ReplicaProverDependencies {
  readonly peers: Pick<ReplicaPeers, 'ask' | 'isConnected'>;
  readonly giver: Pick<ProofGiver, 'expected'>;
  readonly clock: Clock;
  readonly random: Random;
  /** The peer that is a node now. */
  readonly peerOf: (node: NodeId) => PeerId | undefined;
  /** The content plane's. */
  readonly fetchFrom: (peer: PeerId, hash: BlobHash, sizeBytes: number) => Promise<Uint8Array | undefined>;
  /** A node answered a challenge with what is no proof. */
  readonly onWrong: (node: NodeId, manifest: BlobHash) => void;
  readonly log: Log;
  readonly metrics: Metrics;
}

interface ProveOptions {
  /** Where each content is looked at; everywhere without it. */
  readonly pointsOf?: (content: ProvedContent) => readonly number[];
  readonly isBinding?: boolean;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Has holders prove that they have contents. What this node holds itself it challenges and compares; of what it does not
 * hold it looks at some chunks, which their hashes verify.
 */
export class ReplicaProver {
  readonly #dependencies: ReplicaProverDependencies;
  readonly #results: Counter;
  /** Until when nodes that did not answer in time are not asked. */
  readonly #silentUntilMs = new Map<NodeId, number>();

  constructor(dependencies: ReplicaProverDependencies) {
    this.#dependencies = dependencies;
    this.#results = dependencies.metrics.counter({
      name: 'anabranch_replica_proofs_total',
      help: 'Challenges to holders of contents, by what they came to.',
      labels: ['result'],
    });
  }

  /** Has a node prove a few chunks of each content; those that are left are `unreachable` once the signal is aborted. Never rejects. */
  sample(node: NodeId, contents: readonly ProvedContent[], signal?: AbortSignal): Promise<Proof[]> {
    return this.#proveAll(node, contents, { pointsOf: (content) => this.drawPoints(content), signal });
  }

  /** Reads a few chunks of each content of this node itself. Never rejects. */
  async sampleOwn(self: NodeId, contents: readonly ProvedContent[]): Promise<Proof[]> {
    const { giver, random, peerOf, log } = this.#dependencies;
    const peer = peerOf(self);
    const nonce = random.bytes(proofNonceBytes);
    return allOf(contents, async (content): Promise<Proof> => {
      try {
        const challenge = { manifest: content.manifest, points: this.drawPoints(content) };
        const isRead = peer !== undefined && (await giver.expected(peer, nonce, challenge)) !== undefined;
        if (isRead) return { result: 'proved' };
        log.warn('proofs:own_not_read', { manifest: content.manifest });
      } catch (error) {
        log.warn('proofs:own_not_read', { manifest: content.manifest, error });
      }
      return { result: 'unreachable' };
    });
  }

  /** Has a node prove every chunk of each content. Never rejects. */
  whole(node: NodeId, contents: readonly ProvedContent[]): Promise<Proof[]> {
    return this.#proveAll(node, contents, {});
  }

  /** The same, and has it bound not to drop what it proves for long enough that this node can drop its own copy. */
  bind(node: NodeId, contents: readonly ProvedContent[]): Promise<Proof[]> {
    return this.#proveAll(node, contents, { isBinding: true });
  }

  /** Has a node prove the chunks at given points of a content. Never rejects. */
  async at(node: NodeId, content: ProvedContent, points: readonly number[]): Promise<ProofResult> {
    const [proof] = await this.#proveAll(node, [content], { pointsOf: () => points });
    return proof?.result ?? 'unreachable';
  }

  /** Some places of a content, in order; none of an empty one. A small one is one chunk, in whichever of the named ways it was cut. */
  drawPoints(content: ProvedContent): readonly number[] {
    const { sizeBytes } = content;
    const drawn = new Set<number>();
    const places = isSmall(content) ? 1 : Math.min(sampledPoints, pointsMax);
    for (let count = 0; count < Math.min(places, sizeBytes); count += 1) {
      drawn.add(Math.floor(this.#dependencies.random.fraction() * sizeBytes));
    }
    return [...drawn].sort((left, right) => left - right);
  }

  async #proveAll(node: NodeId, contents: readonly ProvedContent[], options: ProveOptions): Promise<Proof[]> {
    const proofs: Proof[] = [];
    for (const group of groupsOf(contents)) {
      const challenges = group.map((content): Challenge => {
        const points = options.pointsOf?.(content);
        // An empty content has no places; all of it is its manifest.
        return { manifest: content.manifest, ...(points === undefined || points.length === 0 ? {} : { points }) };
      });
      proofs.push(...(await this.#proveGroup(node, group, challenges, options)));
    }
    for (const { result } of proofs) this.#results.add(1, { result });
    return proofs;
  }

  async #proveGroup(
    node: NodeId,
    contents: readonly ProvedContent[],
    challenges: readonly Challenge[],
    { isBinding = false, signal }: ProveOptions,
  ): Promise<Proof[]> {
    const { peers, clock, random, peerOf, log } = this.#dependencies;
    const peer = peerOf(node);
    const isAsked = peer !== undefined && peers.isConnected(peer) && signal?.aborted !== true && !this.#isSilent(node);
    if (!isAsked) return contents.map(() => unanswered('not_asked'));
    const nonce = random.bytes(proofNonceBytes);
    const bytes = contents.reduce((sum, { sizeBytes }, at) => sum + readBytesOf(sizeBytes, challenges[at]?.points), 0);
    // A lease that has run out is worth nothing, so nobody is waited for longer than one lasts.
    const leaseMs = Math.min(leaseMsMax, patienceMs + Math.ceil(bytes / slowBytesPerMs));
    const askedMs = clock.monotonicMs();
    try {
      const [answers, expected] = await Promise.all([
        peers.ask(
          peer,
          'prove',
          (client) => client.prove({ nonce, ...(isBinding ? { leaseMs } : {}), items: challenges }),
          { deadlineMs: leaseMs, signal },
        ),
        // What takes long to read is read meanwhile.
        allOf(contents, async (content, index) =>
          isSmall(content) ? undefined : this.#expected(peer, nonce, challenges[index] as Challenge),
        ),
      ]);
      const proofs: Proof[] = [];
      for (const [index, challenge] of challenges.entries()) {
        const content = contents[index] as ProvedContent;
        const answer = answers[index] as ProofAnswer;
        // Of small contents many are asked for too early, and need not be read for the answer that they are lacking.
        const isReadNow = isSmall(content) && answer instanceof Uint8Array;
        const due = isReadNow ? await this.#expected(peer, nonce, challenge) : expected[index];
        const question = { content, challenge, answer, expected: due, signal };
        const proof = await this.#judge({ node, peer }, question);
        const isBound = isBinding && proof.result === 'proved';
        // The lease runs from some moment after the question, so at least so long from the question on.
        proofs.push({ ...proof, ...(isBound ? { boundUntilMs: askedMs + leaseMs } : {}) });
      }
      return proofs;
    } catch (error) {
      const code = error instanceof MeshError ? error.code : undefined;
      if (code === 'timeout') this.#fellSilent(node);
      const isFault = code === 'protocol_violation';
      log[isFault ? 'warn' : 'debug']('proofs:not_had', { node, error });
      const isOwn = code === 'shutting_down' || isAborted(signal);
      return contents.map(() => unanswered(isOwn ? 'not_asked' : code === 'timeout' ? 'late' : 'broken'));
    }
  }

  /** As `ProofGiver.expected`; one that this node cannot read keeps no other from being judged. */
  async #expected(peer: PeerId, nonce: Uint8Array, challenge: Challenge): Promise<Uint8Array | undefined> {
    try {
      return await this.#dependencies.giver.expected(peer, nonce, challenge);
    } catch (error) {
      if (error instanceof MeshError && error.code === 'shutting_down') throw error;
      this.#dependencies.log.warn('proofs:own_not_read', { manifest: challenge.manifest, error });
      return undefined;
    }
  }

  #fellSilent(node: NodeId): void {
    this.#silentUntilMs.set(node, this.#dependencies.clock.monotonicMs() + silentMs);
  }

  #isSilent(node: NodeId): boolean {
    const untilMs = this.#silentUntilMs.get(node);
    if (untilMs === undefined) return false;
    if (untilMs > this.#dependencies.clock.monotonicMs()) return true;
    this.#silentUntilMs.delete(node);
    return false;
  }

  async #judge(
    { node, peer }: { readonly node: NodeId; readonly peer: PeerId },
    {
      content,
      challenge,
      answer,
      expected,
      signal,
    }: {
      readonly content: ProvedContent;
      readonly challenge: Challenge;
      readonly answer: ProofAnswer;
      readonly expected: Uint8Array | undefined;
      readonly signal: AbortSignal | undefined;
    },
  ): Promise<Proof> {
    if (answer === 'lacking') return { result: 'lacking' };
    if (answer === 'busy') return unanswered('put_off');
    if (expected !== undefined) {
      if (Buffer.compare(answer, expected) === 0) return { result: 'proved' };
      this.#dependencies.log.error('proofs:wrong', { node, manifest: content.manifest });
      this.#dependencies.onWrong(node, content.manifest);
      return { result: 'wrong' };
    }
    // Nothing here says whether that is right. Every chunk of a content cannot be fetched for a proof; a few can.
    if (challenge.points === undefined && content.sizeBytes > 0) return unanswered('not_asked');
    return this.#lookInTime({ node, peer }, content, { points: challenge.points ?? [], signal });
  }

  async #lookInTime(
    { node, peer }: { readonly node: NodeId; readonly peer: PeerId },
    content: ProvedContent,
    { points, signal }: { readonly points: readonly number[]; readonly signal: AbortSignal | undefined },
  ): Promise<Proof> {
    const { clock, log } = this.#dependencies;
    if (signal?.aborted === true || this.#isSilent(node)) return unanswered('not_asked');
    const deadlineMs = patienceMs + readBytesOf(content.sizeBytes, points) / slowBytesPerMs;
    try {
      return await withDeadline(clock, deadlineMs, () => this.#lookAt(peer, content, points), signal);
    } catch (error) {
      if (!(error instanceof MeshError)) throw error;
      if (error.code === 'timeout') this.#fellSilent(node);
      log.debug('proofs:not_looked_at', { node, error });
      return unanswered(error.code === 'timeout' ? 'late' : 'not_asked');
    }
  }

  /** Fetches what the points lie in, from this peer alone: its hashes say whether it is right. */
  async #lookAt(peer: PeerId, { manifest, sizeBytes }: ProvedContent, points: readonly number[]): Promise<Proof> {
    const load = async (hash: BlobHash, blobBytes: number): Promise<Uint8Array> => {
      const bytes = await this.#dependencies.fetchFrom(peer, hash, blobBytes);
      if (bytes === undefined) throw new MeshError('content_unavailable', `${peer} does not give ${hash}`);
      return bytes;
    };
    try {
      const root = await loadRoot(manifest, sizeBytes, load);
      for (const point of points) {
        for await (const chunk of walkChunks(root, load, { start: point, end: point + 1 })) {
          await load(chunk.hash, chunk.size);
        }
      }
      return { result: 'proved' };
    } catch (error) {
      if (!(error instanceof MeshError)) throw error;
      // That others gave it, or that a transfer broke, says nothing about what this one has.
      if (error.code === 'timeout') return unanswered('not_asked');
      if (error.code === 'stream_failed') return unanswered('broken');
      return this.#dependencies.peers.isConnected(peer) ? { result: 'lacking' } : unanswered('broken');
    }
  }
}

/** Contents that one message asks about. */
export function* groupsOf(contents: readonly ProvedContent[]): Generator<readonly ProvedContent[]> {
  let group: ProvedContent[] = [];
  let bytes = 0;
  for (const content of contents) {
    if (group.length === challengesMax || (group.length > 0 && bytes + content.sizeBytes > groupBytesMax)) {
      yield group;
      group = [];
      bytes = 0;
    }
    group.push(content);
    bytes += content.sizeBytes;
  }
  if (group.length > 0) yield group;
}

function isAborted(signal: AbortSignal | undefined): boolean {
  return signal?.aborted === true;
}

function unanswered(why: NoAnswer): Proof {
  return { result: 'unreachable', why };
}

/** A content whose blobs are rows: reading it costs no wait. */
function isSmall({ sizeBytes }: ProvedContent): boolean {
  return sizeBytes <= smallBlobBytesMax;
}

/** One after the other: each reads from disk. */
async function allOf<In, Out>(inputs: readonly In[], each: (input: In, index: number) => Promise<Out>): Promise<Out[]> {
  const outputs: Out[] = [];
  for (const [index, input] of inputs.entries()) outputs.push(await each(input, index));
  return outputs;
}
