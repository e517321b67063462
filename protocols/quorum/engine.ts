import type { NodeId, PeerId } from '../../crdt/ids.ts';
import type { Signer } from '../../crdt/signature.ts';
import type { Clock } from '../../src/ports/clock.ts';
import type { Log } from '../../src/ports/log.ts';
import { MeshError } from '../../src/ports/mesh-error.ts';
import type { Network } from '../../src/ports/network.ts';
import type { Random } from '../../src/ports/random.ts';
import { withDeadline } from '../wire/deadline.ts';
import { Acceptor, serveQuorum } from './acceptor-server.ts';
import type { AcceptorStore } from './acceptor-store.ts';
import { type CarryOptions, type CarryOutcome, carryRegisters } from './carry.ts';
import { ConfirmLink, readOutcome, wireOutcome } from './confirm-link.ts';
import { CoordinatorLink } from './coordinator-link.ts';
import { EarlyLearner } from './early-learner.ts';
import { enclosureOf, takeInEnclosed } from './enclosures.ts';
import { type ConfirmItem, type QuorumRequest, type QuorumResponse, quorumProtocol } from './messages.ts';
import { QuorumClient } from './proposer-client.ts';
import type {
  CertificateBook,
  Coordinator,
  Outcome,
  QuorumView,
  RegisterKind,
  UnavailableReason,
} from './register-kind.ts';
import { type Candidate, type Decision, RegisterProposer } from './register-proposer.ts';
import { RegisterQueue } from './register-queue.ts';
import { StartCheck } from './start-check.ts';
import { stickyOrder } from './sticky-order.ts';
import { VoteWatch } from './vote-watch.ts';

/** How long a proposal may take when its caller names no time. */
const proposeTimeoutMsDefault = 10_000;
/** How long a coordinator may take to vote: longer than it may take to get what a head names. */
const voteDeadlineMs = 8_000;
/** How long a coordinator may take to confirm: longer than its own proposal may take. */
const confirmDeadlineMs = proposeTimeoutMsDefault + 2_000;
/** Proposals that may wait at one node, and for one register. */
const waitingMax = 16_384;
const waitingPerRegisterMax = 64;
const inboundStreamsMax = 8;
/** After these a candidate may have been proposed, and accepted by some. */
const unsettled: ReadonlySet<UnavailableReason> = new Set(['lost', 'deadline', 'epoch']);

/** What the engine needs from its node. */
export interface QuorumDependencies {
  readonly nodeId: NodeId;
  readonly signer: Signer;
  readonly network: Network;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly store: AcceptorStore;
  readonly certificates: CertificateBook;
  /** Who votes now, as the control log held here proves it. */
  readonly view: () => QuorumView;
  readonly kindOf: (register: string) => RegisterKind;
  /** A peer is in a later epoch than this node: the control log is to be fetched. */
  readonly epochAhead: (peer: PeerId, epoch: number) => void;
}

/** How long a proposal may take, and what ends it early. */
export interface ProposeOptions {
  readonly signal?: AbortSignal;
  /** 10 seconds when absent. */
  readonly timeoutMs?: number;
  /** Others can hardly hold yet what the head names: it is enclosed for them, when it is small. */
  readonly isFresh?: boolean;
  /** Resolves when this node has on disk what the head names, where it has not: no other is told of it before. */
  readonly flushed?: Promise<void>;
}

interface Links {
  readonly peerId: PeerId;
  readonly votes: CoordinatorLink;
  readonly confirms: ConfirmLink;
  close(reason: Error): void;
}

/**
 * The quorum register on one node: votes when the node is a coordinator, proposes, and asks the coordinator whose turn
 * it is to propose. One engine serves every register of the cluster.
 */
export class QuorumEngine {
  readonly #dependencies: QuorumDependencies;
  readonly #watch: VoteWatch;
  readonly #learner = new EarlyLearner();
  readonly #acceptor: Acceptor;
  readonly #proposer: RegisterProposer;
  readonly #startCheck: StartCheck;
  readonly #queue = new RegisterQueue({ waitingMax, waitingPerRegisterMax });
  readonly #links = new Map<NodeId, Links>();
  readonly #stopping = new AbortController();
  #connected: ReadonlySet<PeerId> = new Set();
  #unsubscribe: () => void = () => undefined;

  constructor(dependencies: QuorumDependencies) {
    this.#dependencies = dependencies;
    this.#watch = new VoteWatch(dependencies);
    this.#acceptor = new Acceptor({ ...dependencies, watch: this.#watch, learner: this.#learner });
    const { localPeer } = dependencies.network;
    const linkTo = (coordinator: Coordinator) => this.#linkTo(coordinator)?.votes;
    this.#proposer = new RegisterProposer({ ...dependencies, localPeer, linkTo });
    this.#startCheck = new StartCheck({ ...dependencies, watch: this.#watch, linkTo });
  }

  /** Serves the protocol. Called before the network starts. */
  start(): void {
    const { network, clock } = this.#dependencies;
    network.handle(quorumProtocol, (stream) => serveQuorum(stream, this, { clock }), { inboundStreamsMax });
    const refresh = (): void => {
      this.#connected = new Set(network.connectedPeers());
    };
    this.#unsubscribe = network.onPeerChange(refresh);
    refresh();
  }

  /** Ends what is under way: open proposals reject with `shutting_down`. */
  stop(): void {
    const reason = new MeshError('shutting_down', 'the node is stopping');
    this.#unsubscribe();
    this.#startCheck.stop();
    this.#stopping.abort(reason);
    for (const links of this.#links.values()) links.close(reason);
    this.#links.clear();
  }

  /**
   * Has a head confirmed: the first coordinator in the register's order that can be reached proposes it, which may be
   * this node. Without a connected majority the answer is `unavailable` at once. Rejects with the signal's reason, with
   * `shutting_down`, or with `MeshError` `disk_full` or `io_error` of this node's disk.
   */
  async propose(register: string, head: string, options: ProposeOptions = {}): Promise<Outcome> {
    const proven = this.#proven(register, head);
    if (proven !== undefined) return proven;
    const { isFresh = false, flushed } = options;
    return this.#withinTime(options, (signal) => this.#proposeInOrder(register, { head, isFresh, flushed }, signal));
  }

  /** Proposes every register again in the present epoch; see `carryRegisters`. Only a coordinator can. */
  carry(options: CarryOptions): Promise<CarryOutcome> {
    const signal = AbortSignal.any([options.signal, this.#stopping.signal]);
    return carryRegisters(
      {
        view: this.#dependencies.view,
        linkTo: (coordinator) => this.#linkTo(coordinator)?.votes,
        repropose: (register, each) =>
          this.#withinTime<Decision>({ signal: each }, (ended) => this.#decide(register, null, ended)),
      },
      { ...options, signal },
    );
  }

  /** Coordinators of the present epoch that were caught having forgotten votes: `coordinator_restored`. */
  restoredCoordinators(): readonly NodeId[] {
    const { coordinators } = this.#dependencies.view();
    return coordinators.map(({ nodeId }) => nodeId).filter((nodeId) => this.#watch.isRestored(nodeId));
  }

  /** Answers a request of a member, or of this node's own proposer. */
  async answer(request: QuorumRequest, from: PeerId): Promise<QuorumResponse> {
    if (request.t === 'confirm') {
      await takeInEnclosed(request.items, from, this.#dependencies);
      const outcomes = await Promise.all(request.items.map((item) => this.#confirm(item, from)));
      return { t: 'confirm', outcomes: outcomes.map(wireOutcome) };
    }
    if (request.t === 'heard') return { t: 'heard', sequence: this.#heardOf(from) };
    const { epoch, coordinators } = this.#dependencies.view();
    if (request.epoch === epoch && !coordinators.some(({ peerId }) => peerId === from)) {
      throw new MeshError('protocol_violation', 'votes are asked for by one who is no coordinator');
    }
    return request.t === 'votes' ? this.#acceptor.votes(request, from) : this.#acceptor.list(request, from);
  }

  async #proposeInOrder(
    register: string,
    { head, isFresh, flushed }: Omit<Candidate, 'from'> & { readonly flushed: Promise<void> | undefined },
    signal: AbortSignal,
  ): Promise<Outcome> {
    const { view, nodeId, network, log, kindOf } = this.#dependencies;
    let last: Outcome = { kind: 'unavailable', reason: 'no_majority' };
    /** What somebody said, or did not, who may have had it accepted: who comes after cannot tell. */
    let open: Outcome | undefined;
    for (const coordinator of stickyOrder(register, view().coordinators)) {
      signal.throwIfAborted();
      if (coordinator.nodeId === nodeId) {
        last = await this.#proposeHere(register, { head, isFresh, from: network.localPeer }, signal);
      } else {
        const links = this.#linkTo(coordinator);
        if (links === undefined) continue;
        await flushed;
        try {
          const item = { register, head, ...(isFresh ? enclosureOf(register, head, kindOf) : {}) };
          last = await this.#askToConfirm(item, links);
        } catch (error) {
          if (this.#stopping.signal.aborted) throw this.#stopping.signal.reason;
          log.debug('quorum:confirm_lost', { register, node: coordinator.nodeId, error });
          last = { kind: 'unavailable', reason: 'lost' };
        }
      }
      if (last.kind === 'refused' && open !== undefined) return { ...last, open: true };
      if (last.kind !== 'unavailable') return last;
      if (unsettled.has(last.reason)) open = last;
    }
    return open ?? last;
  }

  /** What another coordinator says, or what this node learns meanwhile. */
  async #askToConfirm(item: ConfirmItem, { confirms, peerId }: Links): Promise<Outcome> {
    const { learned, end } = this.#learner.expect(item.register, item.head);
    try {
      const first = await Promise.race([learned, confirms.confirm(item)]);
      return 'kind' in first ? first : await this.#checked(item.register, readOutcome(first), peerId);
    } finally {
      end();
    }
  }

  /** What another coordinator said, once the certificate it came with is proved and kept. */
  async #checked(register: string, outcome: Outcome, peer: PeerId): Promise<Outcome> {
    if (outcome.kind === 'unavailable' || outcome.certificate === null) return outcome;
    const { certificate } = outcome;
    const { certificates, view, epochAhead } = this.#dependencies;
    if (certificate.statement.register !== register) {
      throw new MeshError('protocol_violation', 'the certificate is of another register');
    }
    if (certificates.verify(certificate)) {
      await certificates.keep(certificate);
      return outcome;
    }
    if (certificate.statement.epoch <= view().epoch) {
      throw new MeshError('protocol_violation', 'the certificate does not hold');
    }
    epochAhead(peer, certificate.statement.epoch);
    return { kind: 'unavailable', reason: 'epoch' };
  }

  /** A peer's candidate. It is proposed here, whoever's turn it is: the peer has chosen among those it reaches. */
  async #confirm({ register, head, enclosed }: ConfirmItem, from: PeerId): Promise<Outcome> {
    const { view, nodeId } = this.#dependencies;
    if (!view().coordinators.some((each) => each.nodeId === nodeId)) return { kind: 'unavailable', reason: 'epoch' };
    const candidate = { head, from, isFresh: enclosed !== undefined };
    return this.#withinTime({}, (signal) => this.#proposeHere(register, candidate, signal));
  }

  async #proposeHere(register: string, candidate: Candidate, signal: AbortSignal): Promise<Outcome> {
    const decision = await this.#decide(register, candidate, signal);
    return decision.kind === 'empty' ? { kind: 'unavailable', reason: 'missing' } : decision;
  }

  #heardOf(peer: PeerId): number {
    const asker = this.#dependencies.view().coordinators.find(({ peerId }) => peerId === peer);
    return asker === undefined ? 0 : this.#watch.seen(asker.nodeId);
  }

  #decide(register: string, candidate: Candidate | null, signal: AbortSignal): Promise<Decision> {
    if (!this.#proposer.hasMajority(this.#dependencies.view())) {
      return Promise.resolve({ kind: 'unavailable', reason: 'no_majority' });
    }
    const decided = this.#queue.run(register, async (): Promise<Decision> => {
      signal.throwIfAborted();
      if (!(await this.#startCheck.passed())) return { kind: 'unavailable', reason: 'no_majority' };
      return (
        (candidate === null ? undefined : this.#proven(register, candidate.head)) ??
        this.#proposer.decide(register, candidate, signal)
      );
    });
    return decided ?? Promise.resolve({ kind: 'unavailable', reason: 'busy' });
  }

  /** The latest certificate known here when it settles the question: what is part of a certified chain stays part of it. */
  #proven(register: string, head: string): Outcome | undefined {
    const certificate = this.#dependencies.certificates.latest(register);
    return certificate?.statement.head === head ? { kind: 'confirmed', certificate } : undefined;
  }

  async #withinTime<T extends Decision>(
    { signal, timeoutMs = proposeTimeoutMsDefault }: ProposeOptions,
    run: (signal: AbortSignal) => Promise<T>,
  ): Promise<T | { readonly kind: 'unavailable'; readonly reason: UnavailableReason }> {
    const stopping = this.#stopping.signal;
    const parent = signal === undefined ? stopping : AbortSignal.any([signal, stopping]);
    try {
      return await withDeadline(this.#dependencies.clock, timeoutMs, run, parent);
    } catch (error) {
      if (parent.aborted || !(error instanceof MeshError) || error.code !== 'timeout') throw error;
      return { kind: 'unavailable', reason: 'deadline' };
    }
  }

  /** How a coordinator is asked; undefined when it is not connected, or has forgotten votes. */
  #linkTo(coordinator: Coordinator): Links | undefined {
    const { nodeId, peerId } = coordinator;
    if (this.#stopping.signal.aborted || this.#watch.isRestored(nodeId)) return undefined;
    if (nodeId !== this.#dependencies.nodeId && !this.#connected.has(peerId)) return undefined;
    const known = this.#links.get(nodeId);
    if (known?.peerId === peerId) return known;
    known?.close(new MeshError('stream_failed', 'the coordinator has another key now'));
    const links = this.#createLinks(coordinator);
    this.#links.set(nodeId, links);
    return links;
  }

  #createLinks(coordinator: Coordinator): Links {
    const { network, epochAhead, log } = this.#dependencies;
    const { peerId } = coordinator;
    const signal = this.#stopping.signal;
    const clientWithin = (deadlineMs: number) => new QuorumClient(this.#dependencies, { peer: peerId, deadlineMs });
    const client = clientWithin(voteDeadlineMs);
    const isLocal = coordinator.nodeId === this.#dependencies.nodeId;
    const votes = new CoordinatorLink(coordinator, {
      watch: this.#watch,
      log,
      ownSequence: () => this.#acceptor.sequence,
      // The same code path for this node's own votes, without the network.
      exchange: (request) => (isLocal ? this.answer(request, network.localPeer) : client.ask(request, signal)),
      laterEpoch: (epoch) => epochAhead(peerId, epoch),
    });
    const confirms = new ConfirmLink(() => clientWithin(confirmDeadlineMs), signal);
    const close = (reason: Error): void => {
      client.close(reason);
      confirms.close(reason);
    };
    return { peerId, votes, confirms, close };
  }
}
