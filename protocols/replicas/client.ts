import { rawHash } from '../../crdt/digest.ts';
import type { BlobHash, NodeId } from '../../crdt/ids.ts';
import type { RangeAnswer, RangeQuestion } from '../../crdt/reconcile.ts';
import { MeshError } from '../../src/ports/mesh-error.ts';
import type { Channel } from '../wire/channel.ts';
import { packRange, unpackAnswer, unpackChanges } from '../wire/item-sets.ts';
import { receiveResponse, unexpectedResponse } from '../wire/requests.ts';
import type { FeedPage, FollowedSet } from '../wire/set-following.ts';
import {
  type CheckAnswer,
  decodeReplicaResponse,
  encodeReplicaMessage,
  type ProofAnswer,
  type ReplicaRequest,
  type ReplicaResponse,
  unpackProof,
} from './messages.ts';
import type { ChallengeGroup, CheckOrder, Order } from './server.ts';
import {
  type AuditState,
  type CopyView,
  type DrainView,
  type PlanPlace,
  type PlanView,
  type PreviewQuestion,
  type PreviewView,
  packPlace,
  packPreviewPlace,
  type StandingView,
  unpackCopy,
  unpackPreview,
  unpackPull,
} from './views.ts';

/**
 * The asking side of the replicas protocol on one channel, one question at a time. Every method rejects with
 * `MeshError`, `protocol_violation` when the peer's answer is not one to the question.
 */
export class ReplicaClient implements FollowedSet {
  readonly #channel: Channel;

  constructor(channel: Channel) {
    this.#channel = channel;
  }

  async feed(feed: string | null, after: number): Promise<FeedPage> {
    const response = await this.#ask({ t: 'feed', feed, after });
    if (response.t !== 'feed') throw unexpectedResponse(response);
    return { ...response, entries: response.entries === null ? null : unpackChanges(response.entries) };
  }

  async ranges(questions: readonly RangeQuestion[]): Promise<RangeAnswer[]> {
    const response = await this.#ask({ t: 'ranges', ranges: questions.map(packRange) });
    if (response.t !== 'ranges') throw unexpectedResponse(response);
    return response.answers.map(unpackAnswer);
  }

  /** The peer's answers to challenges, unverified, one for each. */
  async prove({ nonce, leaseMs, items }: ChallengeGroup): Promise<ProofAnswer[]> {
    const response = await this.#ask({
      t: 'prove',
      nonce,
      ...(leaseMs === undefined ? {} : { lease: leaseMs }),
      items: items.map(({ manifest, points }) => ({
        manifest: rawHash(manifest),
        ...(points === undefined ? {} : { points: [...points] }),
      })),
    });
    if (response.t !== 'proofs') throw unexpectedResponse(response);
    return counted(response.answers, items).map(unpackProof);
  }

  /** Tells the peer what it should hold; resolves with how many of the orders it took up. */
  async order(orders: readonly Order[]): Promise<number> {
    const items = orders.map(({ ns, key, version, manifest, holders }) => ({
      ns,
      key,
      version: rawHash(version),
      manifest: rawHash(manifest),
      holders: [...holders],
    }));
    const response = await this.#ask({ t: 'order', items });
    if (response.t !== 'ordered') throw unexpectedResponse(response);
    return response.taken;
  }

  /** Has the peer challenge other holders; resolves with what it says of each. */
  async check(checks: readonly CheckOrder[]): Promise<CheckAnswer[]> {
    const items = checks.map(({ manifest, node, points }) => ({
      manifest: rawHash(manifest),
      node,
      points: [...points],
    }));
    const response = await this.#ask({ t: 'check', items });
    if (response.t !== 'checked') throw unexpectedResponse(response);
    return counted(response.results, checks);
  }

  /** How replication stands at the peer. */
  async status(): Promise<StandingView> {
    const { t: _, ...standing } = await this.#askFor({ t: 'status' });
    return standing;
  }

  /** What the peer's last plan lists after a place; undefined when it is no coordinator, as in all that follow. */
  async plan(after?: PlanPlace): Promise<PlanView | undefined> {
    const { page } = await this.#askFor({ t: 'plan', after: after === undefined ? null : packPlace(after) });
    return page === null ? undefined : { pulls: page.pulls.map(unpackPull), isMore: page.more };
  }

  /** Has the peer audit; resolves once that is done, or after the wait. */
  async audit(waitMs: number): Promise<AuditState> {
    return (await this.#askFor({ t: 'audit', wait: waitMs })).state;
  }

  /** The copies of contents that the peer knows of, one list for each. */
  async copies(manifests: readonly BlobHash[]): Promise<CopyView[][] | undefined> {
    const { copies } = await this.#askFor({ t: 'copies', manifests: manifests.map((manifest) => rawHash(manifest)) });
    return copies === null ? undefined : counted(copies, manifests).map((list) => list.map(unpackCopy));
  }

  /** How far a node that drains has come. */
  async drain(node: NodeId): Promise<DrainView | undefined> {
    return (await this.#askFor({ t: 'drain', node })).progress ?? undefined;
  }

  /** What a change would move. */
  async preview({ change, after, movesMax }: PreviewQuestion): Promise<PreviewView | undefined> {
    const place = after === undefined ? null : packPreviewPlace(after);
    const { page } = await this.#askFor({ t: 'preview', change, after: place, moves: movesMax });
    return page === null ? undefined : unpackPreview(page);
  }

  /** Asks what is answered under its own name. */
  async #askFor<Type extends ReplicaRequest['t'] & ReplicaResponse['t']>(
    request: Extract<ReplicaRequest, { t: Type }>,
  ): Promise<Extract<ReplicaResponse, { t: Type }>> {
    const response = await this.#ask(request as ReplicaRequest);
    if (response.t !== (request as ReplicaRequest).t) throw unexpectedResponse(response);
    return response as Extract<ReplicaResponse, { t: Type }>;
  }

  async #ask(request: ReplicaRequest): Promise<ReplicaResponse> {
    await this.#channel.send(encodeReplicaMessage(request));
    for (;;) {
      const response = await receiveResponse(this.#channel, { protocol: 'replicas', decode: decodeReplicaResponse });
      if (response.t !== 'working') return response;
    }
  }
}

function counted<Answer>(answers: Answer[], questions: readonly unknown[]): Answer[] {
  if (answers.length === questions.length) return answers;
  throw new MeshError('protocol_violation', `${answers.length} answers to ${questions.length} questions`);
}
