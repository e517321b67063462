import { batchOf, type Certificate, isSameValue, signBatch, signStatement } from '../../crdt/certificate.ts';
import type { NodeId, PeerId } from '../../crdt/ids.ts';
import { type AcceptorAnswer, accept, prepare } from '../../crdt/quorum/acceptor.ts';
import { firstCounter } from '../../crdt/quorum/ballot.ts';
import type { Signer } from '../../crdt/signature.ts';
import type { Clock } from '../../src/ports/clock.ts';
import type { Log } from '../../src/ports/log.ts';
import { MeshError } from '../../src/ports/mesh-error.ts';
import type { ByteStream } from '../../src/ports/network.ts';
import { withDeadline } from '../wire/deadline.ts';
import { serveRequests } from '../wire/requests.ts';
import type { AcceptorStore, AcceptorTransaction } from './acceptor-store.ts';
import type { AcceptedGroup, EarlyLearner } from './early-learner.ts';
import { type EnclosingItem, takeInEnclosed } from './enclosures.ts';
import { signatureUnderAll, statementOf } from './group-vote.ts';
import {
  decodeQuorumRequest,
  encodeQuorumMessage,
  type ListRequest,
  type QuorumRequest,
  type QuorumResponse,
  type VoteAnswer,
  type VoteItem,
  type VotesRequest,
} from './messages.ts';
import type { CertificateBook, QuorumView, RegisterKind } from './register-kind.ts';
import { stickyOrder } from './sticky-order.ts';
import type { VoteWatch } from './vote-watch.ts';

/** How long a vote may wait for what its head names: well within the time an asker gives an exchange. */
const holdDeadlineMs = 5_000;

/** What an acceptor needs from its node. */
export interface AcceptorDependencies {
  readonly nodeId: NodeId;
  readonly signer: Signer;
  readonly store: AcceptorStore;
  readonly clock: Clock;
  readonly log: Log;
  readonly view: () => QuorumView;
  readonly kindOf: (register: string) => RegisterKind;
  /** What is heard of others' vote sequences; it is flushed with the next votes. */
  readonly watch: Pick<VoteWatch, 'told' | 'drain' | 'notStored' | 'isRestored'>;
  /** Adds this node's votes to those that came with the question. */
  readonly learner: Pick<EarlyLearner, 'certificates' | 'learned'>;
  readonly certificates: Pick<CertificateBook, 'keep' | 'latest'>;
  /** Somebody is in a later epoch than this node: its control log is to be fetched. */
  readonly epochAhead: (peer: PeerId, epoch: number) => void;
}

type Declined = Extract<QuorumResponse, { t: 'declined' }>;

/** A request of which all that was to be accepted was, and the one signature under that. */
interface Whole extends Pick<AcceptedGroup, 'statements' | 'batch'> {
  readonly signature: Uint8Array;
}

/** The voting side of a coordinator: holds, flushes, and only then answers. */
export class Acceptor {
  readonly #dependencies: AcceptorDependencies;
  #sequence: number;

  constructor(dependencies: AcceptorDependencies) {
    this.#dependencies = dependencies;
    this.#sequence = dependencies.store.sequence();
  }

  /** The greatest vote sequence that is on disk; 0 before the first vote. */
  get sequence(): number {
    return this.#sequence;
  }

  /**
   * Answers a whole batch: first what its heads name is held, then everything is voted on in one transaction, and
   * what is answered is on disk. What came with the request is not waited for: its votes share its flush or come after it.
   * Rejects with `MeshError` when the disk fails, and then nothing was promised, or with `protocol_violation` for a first round
   * by another coordinator than the register's own.
   */
  async votes(request: VotesRequest, from: PeerId): Promise<QuorumResponse> {
    const declined = this.#decline(request.epoch, from);
    if (declined !== undefined) return declined;
    for (const item of request.items) this.#checkFirst(item);
    this.#hear(from, request.own);
    const { heads } = await takeInEnclosed(request.items.map(enclosingItem), from, this.#dependencies);
    const isComing = request.items.map((item) => this.#isComing(item, heads));
    const held = await Promise.all(request.items.map((item, at) => isComing[at] || this.#hold(item, from)));
    const result = await this.#transact(request, (transaction) => {
      const votes = request.items.map((item, at) => {
        const isHeld = isComing[at] ? isSeen(transaction, item) : held[at];
        return isHeld ? this.#vote(transaction, item, request.epoch) : undefined;
      });
      const { answers, batch, whole } = this.#sign(request, votes);
      const proved = whole === undefined ? [] : this.#prove(request, from, whole);
      const learned = proved.map((certificate) => ({ certificate, isKept: transaction.certify(certificate) }));
      return { sequence: transaction.sequence, answers, batch, learned };
    });
    if ('t' in result) return result;
    const { sequence, answers, batch, learned } = result;
    for (const { certificate, isKept } of learned) void this.#learn(certificate, isKept);
    return { t: 'votes', sequence, answers, batch };
  }

  /** Names the registers that hold something, and whether they have it of this epoch. From then on no vote of an earlier epoch is given here. */
  async list(request: ListRequest, from: PeerId): Promise<QuorumResponse> {
    const declined = this.#decline(request.epoch, from);
    if (declined !== undefined) return declined;
    const result = await this.#transact(request, (transaction) => ({
      sequence: transaction.sequence,
      ...transaction.listAccepted(request.epoch, request.after, request.limit),
    }));
    if ('t' in result) return result;
    const { sequence, registers, through } = result;
    return { t: 'list', sequence, registers: registers.map(([name, current]) => [name, current]), through };
  }

  /** Runs `change` with the epoch raised and the sequence counted, unless this node must not vote. */
  async #transact<T extends object>(
    request: { readonly epoch: number; readonly seen: number },
    change: (transaction: AcceptorTransaction) => T,
  ): Promise<T | Declined> {
    const { store, watch } = this.#dependencies;
    let sequence = 0;
    let drained: ReturnType<VoteWatch['drain']> = [];
    const transacted = store.transact((transaction): T | Declined => {
      const view = this.#dependencies.view();
      if (view.epoch > transaction.epoch) transaction.raiseEpoch(view.epoch);
      const { epoch } = transaction;
      if (request.epoch !== epoch) return decline(request.epoch < epoch ? 'stale_epoch' : 'behind', epoch);
      // Somebody has had a vote of this node that the node knows nothing of: its disk is an older one.
      if (request.seen > transaction.sequence) transaction.markRestored();
      if (transaction.restored) return decline('coordinator_restored', epoch);
      sequence = transaction.sequence + 1;
      transaction.setSequence(sequence);
      drained = watch.drain();
      for (const [nodeId, heard] of drained) transaction.setHeard(nodeId, heard);
      return change(transaction);
    });
    const outcome = await transacted.catch((error: unknown) => {
      watch.notStored(drained);
      throw error;
    });
    this.#sequence = Math.max(this.#sequence, sequence);
    if ('code' in outcome && outcome.code === 'coordinator_restored') {
      this.#dependencies.log.error('quorum:restored', { node: this.#dependencies.nodeId, seen: request.seen });
    }
    return outcome;
  }

  #hear(from: PeerId, sequence: number): void {
    const { view, nodeId, watch } = this.#dependencies;
    const asker = view().coordinators.find(({ peerId }) => peerId === from);
    if (asker !== undefined && asker.nodeId !== nodeId) watch.told(asker.nodeId, sequence);
  }

  #decline(epoch: number, from: PeerId): Declined | undefined {
    const view = this.#dependencies.view();
    if (epoch > view.epoch) {
      this.#dependencies.epochAhead(from, epoch);
      return decline('behind', view.epoch);
    }
    if (epoch < view.epoch) return decline('stale_epoch', view.epoch);
    if (view.coordinators.some(({ nodeId }) => nodeId === this.#dependencies.nodeId)) return undefined;
    return decline('not_a_coordinator', view.epoch);
  }

  /** True of a head that is in the store, though perhaps not on disk: it came along now, or just before. */
  #isComing(item: VoteItem, heads: ReadonlySet<string>): boolean {
    if (item.t === 'prepare') return false;
    const { register, value } = item;
    return heads.has(value.head) || this.#dependencies.kindOf(register).isArriving?.(register, value.head) === true;
  }

  /** The acceptor's answer; none where it would accept a value that is ruled out. */
  #vote(transaction: AcceptorTransaction, item: VoteItem, epoch: number): AcceptorAnswer | undefined {
    const before = transaction.state(item.register);
    const { state, answer } =
      item.t === 'prepare'
        ? prepare(before, { epoch, ballot: item.ballot }, transaction.epoch)
        : accept(before, { epoch, ballot: item.ballot, value: item.value, next: item.next }, transaction.epoch);
    if (answer.t === 'accepted' && this.#isRuledOut(item)) return undefined;
    if (state !== before) transaction.setState(item.register, state);
    return answer;
  }

  /**
   * True of a value that cannot be chosen any more, by a certificate that is known here: who proposes it has forgotten that, and so
   * have those of its majority. Not all of the others were asked for votes on what was chosen, but all learn of it.
   */
  #isRuledOut(item: VoteItem): boolean {
    if (item.t === 'prepare') return false;
    const certified = this.#dependencies.certificates.latest(item.register)?.statement;
    if (certified === undefined || item.value.position > certified.position) return false;
    if (isSameValue(certified, item.value)) return false;
    const { register, ballot } = item;
    this.#dependencies.log.error('quorum:against_certificate', { register, ballot, certified: certified.head });
    return true;
  }

  async #hold(item: VoteItem, from: PeerId): Promise<boolean> {
    if (item.t === 'prepare') return true;
    const { register, value } = item;
    const { clock, kindOf, log } = this.#dependencies;
    try {
      const kind = kindOf(register);
      return await withDeadline(clock, holdDeadlineMs, (signal) => kind.hold(register, value, from, signal));
    } catch (error) {
      log.debug('quorum:not_held', { register, head: value.head, from, error });
      return false;
    }
  }

  /** Two who both began a register's first round would be told apart by nobody. */
  #checkFirst(item: VoteItem): void {
    if (item.t === 'prepare' || item.ballot.counter !== firstCounter) return;
    const [owner] = stickyOrder(item.register, this.#dependencies.view().coordinators);
    if (owner !== undefined && item.ballot.proposer.startsWith(`${owner.nodeId}.`)) return;
    throw new MeshError('protocol_violation', 'the first round of a register is begun by another than its coordinator');
  }

  /** One signature under everything, when everything that could be was accepted; else each its own. */
  #sign(
    { epoch, items }: VotesRequest,
    answers: readonly (AcceptorAnswer | undefined)[],
  ): Pick<Extract<QuorumResponse, { t: 'votes' }>, 'answers' | 'batch'> & { readonly whole: Whole | undefined } {
    const { signer, view } = this.#dependencies;
    const { cluster } = view();
    const each = items.map((item) => statementOf(item, epoch));
    const statements = each.filter((statement) => statement !== undefined);
    const isWhole = items.every((item, at) => item.t === 'prepare' || answers[at]?.t === 'accepted');
    const batch = isWhole && statements.length > 1 ? batchOf(statements) : undefined;
    const signature = batch === undefined ? null : signBatch(batch, signer, cluster);
    const signed = answers.map((answer, at): VoteAnswer => {
      const statement = each[at];
      if (answer === undefined) return { t: 'missing' };
      if (answer.t !== 'accepted') return answer;
      const alone = batch !== undefined || statement === undefined ? null : signStatement(statement, signer, cluster);
      return { t: 'accepted', signature: alone };
    });
    const under = isWhole ? signatureUnderAll(signed, signature) : undefined;
    return { answers: signed, batch: signature, whole: under && { statements, batch, signature: under } };
  }

  /** What the asker's vote, where it came along, proves together with this node's own. */
  #prove(
    { epoch, voted }: VotesRequest,
    from: PeerId,
    { statements, batch, signature }: Whole,
  ): readonly Certificate[] {
    const { nodeId, watch, learner } = this.#dependencies;
    const view = this.#dependencies.view();
    if (voted === undefined || view.epoch !== epoch) return [];
    const asker = view.coordinators.find(({ peerId }) => peerId === from);
    const own = view.coordinators.find((each) => each.nodeId === nodeId);
    if (own === undefined || asker === undefined || watch.isRestored(asker.nodeId)) return [];
    const votes = { own: { coordinator: own, signature }, told: { coordinator: asker, signature: voted } };
    return learner.certificates({ view, statements, batch, ...votes });
  }

  /** Tells who waits for it, once it is on disk: as it is when it was kept with the vote. */
  async #learn(certificate: Certificate, isKept: boolean): Promise<void> {
    const { certificates, learner, log } = this.#dependencies;
    try {
      if (!isKept) await certificates.keep(certificate);
      learner.learned(certificate);
    } catch (error) {
      // The proposer's answer is waited for all the same.
      log.debug('quorum:not_learned', { register: certificate.statement.register, error });
    }
  }
}

function isSeen(transaction: AcceptorTransaction, item: VoteItem): boolean {
  return item.t === 'accept' && transaction.holds(item.register, item.value.head);
}

function enclosingItem(item: VoteItem): EnclosingItem {
  const { register } = item;
  return item.t === 'prepare' ? { register } : { register, head: item.value.head, enclosed: item.enclosed };
}

function decline(code: Declined['code'], epoch: number): Declined {
  return { t: 'declined', code, epoch: Math.max(1, epoch) };
}

/** What the answering side of the protocol does. */
export interface QuorumHandler {
  /** Answers a request of a member; rejects with `MeshError`, and the stream is reset. */
  answer(request: QuorumRequest, from: PeerId): Promise<QuorumResponse>;
}

/**
 * Answers a peer's requests on one stream, one after the other, until the peer ends it. Rejects with the channel's
 * `MeshError`; a request that cannot be read is a `protocol_violation`.
 */
export async function serveQuorum(
  stream: ByteStream,
  handler: QuorumHandler,
  dependencies: { readonly clock: Clock },
): Promise<void> {
  await serveRequests(
    stream,
    {
      protocol: 'quorum',
      decode: decodeQuorumRequest,
      answer: async (channel, request) => {
        await channel.send(encodeQuorumMessage(await handler.answer(request, channel.remotePeer)));
      },
    },
    dependencies,
  );
}
