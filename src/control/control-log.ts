import { controlLogRegister } from '../../crdt/certificate.ts';
import type { CertifiedEntry, Checkpoint } from '../../crdt/control/checkpoint.ts';
import { type ControlState, coordinatorsOf, foundingState } from '../../crdt/control/state.ts';
import type { ControlRefusal } from '../../crdt/control-log.ts';
import type { Genesis } from '../../crdt/genesis.ts';
import type { ClusterId, NodeId, PeerId } from '../../crdt/ids.ts';
import type { AcceptorStore } from '../../protocols/quorum/acceptor-store.ts';
import type { QuorumEngine } from '../../protocols/quorum/engine.ts';
import type { CertificateBook, QuorumView, RegisterKind } from '../../protocols/quorum/register-kind.ts';
import { stickyOrder } from '../../protocols/quorum/sticky-order.ts';
import type { Clock } from '../ports/clock.ts';
import type { Kv } from '../ports/kv.ts';
import type { Log } from '../ports/log.ts';
import type { Network } from '../ports/network.ts';
import type { Random } from '../ports/random.ts';
import { CarryOver, type CarryStatus } from './carry-over.ts';
import { ControlCertificates } from './control-certificates.ts';
import { ControlLogKind } from './control-log-kind.ts';
import { ControlStore, type LogProof } from './control-store.ts';
import { LogExchange } from './log-exchange.ts';
import { type CarryProgress, type SubmitInput, type SubmitOutcome, Submitter } from './submitter.ts';
import type { WriterPosition } from './writer-positions.ts';

export interface ControlLogDependencies {
  readonly kv: Kv;
  readonly network: Network;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Where this node's own votes are. */
  readonly votes: AcceptorStore & { registers(): number };
  /** The engine, which needs the opened log itself; absent until `start` has resolved and it was made. */
  readonly quorum: () => Pick<QuorumEngine, 'propose' | 'carry' | 'restoredCoordinators'> | undefined;
}

export interface ControlLogOptions {
  readonly nodeId: NodeId;
  readonly genesis: Genesis;
  /** The genesis entry's text; one newline at its end is no part of it. */
  readonly genesisText: string;
  readonly cluster: ClusterId;
}

/** What `/v1/status` says of the log. */
export interface ControlStatus {
  readonly seq: number;
  readonly hash: string;
  readonly epoch: number;
  /** Whether this node votes. */
  readonly coordinator: boolean;
  readonly coordinators: readonly NodeId[];
  /** Coordinators that were caught having forgotten votes; each must be removed and join as a new node. */
  readonly restored: readonly NodeId[];
  /**
   * Two certified entries that stand at one place, the first there is: the hash of this node's and of the one that the
   * member shows, which null stands for once it is none. Null where no other log was met since the start.
   */
  readonly forked: {
    readonly seq: number;
    readonly ours: string;
    readonly theirs: string;
    readonly nodeId: NodeId | null;
  } | null;
  /** How far the registers have come to the present coordinators; null on a node that does not vote. */
  readonly carryOver: CarryStatus | null;
}

/** What is there once the log has been opened. */
interface Parts {
  readonly store: ControlStore;
  readonly exchange: LogExchange;
  readonly certificates: ControlCertificates;
  readonly kind: ControlLogKind;
  readonly carryOver: CarryOver;
  readonly submitter: Submitter;
}

/**
 * The control log of a running node: what it comes to, how it grows, and how it reaches the others. There is no other
 * way to change the cluster's state than `submit`.
 */
export class ControlLog {
  readonly #dependencies: ControlLogDependencies;
  readonly #options: ControlLogOptions;
  /** What the genesis entry founds: all that is known before `start`. */
  readonly #founding: ControlState;
  readonly #listeners = new Set<(state: ControlState, before: ControlState) => void>();
  readonly #unsubscribers: (() => void)[] = [];
  #parts: Parts | undefined;

  constructor(dependencies: ControlLogDependencies, options: ControlLogOptions) {
    this.#dependencies = dependencies;
    this.#options = options;
    this.#founding = foundingState(options.genesis, options.cluster);
  }

  /**
   * Opens the log and serves it; called before the network and the engine start. Rejects with `MeshError` `corrupt`
   * for a damaged row, `invalid_config` when the store has the log of another cluster.
   */
  async start(): Promise<void> {
    const store = await ControlStore.open(this.#dependencies.kv, this.#options.genesisText);
    const parts = this.#assemble(store);
    this.#parts = parts;
    const { exchange, carryOver } = parts;
    this.#unsubscribers.push(
      store.onAppended((state, before) => {
        for (const listener of [...this.#listeners]) listener(state, before);
        carryOver.goOn();
      }),
    );
    exchange.start();
  }

  /** Begins what needs the network; called once that and the engine run. */
  resume(): void {
    const { carryOver } = this.#opened;
    this.#unsubscribers.push(
      this.#dependencies.network.onPeerChange(({ kind }) => {
        if (kind === 'connected') carryOver.goOn();
      }),
    );
    carryOver.goOn();
  }

  stop(): void {
    for (const unsubscribe of this.#unsubscribers.splice(0)) unsubscribe();
    this.#parts?.exchange.stop();
    this.#parts?.carryOver.stop();
    this.#parts?.submitter.stop();
  }

  /** What the entries up to the last one come to. */
  state(): ControlState {
    return this.#parts?.store.state() ?? this.#founding;
  }

  /** What a record that names a position is judged by; undefined when the log here has not come so far. */
  positionAt(seq: number): WriterPosition | undefined {
    if (this.#parts !== undefined) return this.#parts.store.positionAt(seq);
    return seq === 0 ? this.#founding : undefined;
  }

  /** The state after the entry at a position; undefined when the log here has not come so far. */
  stateAt(seq: number): ControlState | undefined {
    if (this.#parts !== undefined) return this.#parts.store.stateAt(seq);
    return seq === 0 ? this.#founding : undefined;
  }

  /** Calls back whenever the log has grown, once `state` shows it. Returns the unsubscriber. */
  onChange(listener: (state: ControlState, before: ControlState) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Does operations, or says why not; see `SubmitOutcome`. Rejects only as this node's disk does. */
  submit(input: SubmitInput): Promise<SubmitOutcome> {
    return this.#opened.submitter.submit(input);
  }

  /** Certified entries after a position, in order. */
  entriesAfter(seq: number, limit: number): readonly CertifiedEntry[] {
    return this.#opened.store.entriesAfter(seq, limit);
  }

  checkpoint(): Checkpoint {
    return this.#opened.store.checkpoint();
  }

  /** See `ControlStore.proof`. */
  proof(seq: number, size?: number): LogProof | undefined {
    return this.#opened.store.proof(seq, size);
  }

  /** See `ControlStore.consistency`. */
  consistency(first: number, second?: number): LogProof | undefined {
    return this.#opened.store.consistency(first, second);
  }

  /**
   * How far the registers have come to the present coordinators, from who would refuse the next change: this node while
   * it is not done itself, else the first coordinator in the log's order that answers. Undefined when none does.
   */
  async carryOver(): Promise<CarryStatus | undefined> {
    const own = this.#carryOverHere();
    const order = stickyOrder(controlLogRegister, this.view().coordinators);
    const asked = order.map(({ nodeId, peerId }) =>
      nodeId === this.#options.nodeId ? (own ?? undefined) : this.#askCarryOver(peerId),
    );
    const told = (await Promise.all(asked)).filter((each) => each !== undefined);
    const decisive = own !== null && !own.complete ? own : told[0];
    if (decisive === undefined) return undefined;
    // A newcomer knows only of what has come to it.
    const total = Math.max(...told.map((each) => each.total));
    const share = decisive.complete ? 1 : decisive.done / Math.max(1, decisive.total);
    return { ...decisive, done: Math.floor(total * share), total };
  }

  status(): ControlStatus {
    const state = this.state();
    const coordinators = coordinatorsOf(state).map(({ nodeId }) => nodeId);
    return {
      seq: state.seq,
      hash: state.hash,
      epoch: state.epoch,
      coordinator: this.#votes(),
      coordinators,
      restored: this.#dependencies.quorum()?.restoredCoordinators() ?? [],
      forked: this.#forked(),
      carryOver: this.#carryOverHere(),
    };
  }

  #forked(): ControlStatus['forked'] {
    const fork = this.#parts?.exchange.fork;
    if (fork === undefined) return null;
    const { seq, ours, theirs, peer } = fork;
    const member = [...this.state().members.values()].find(({ peerId }) => peerId === peer);
    return { seq, ours, theirs, nodeId: member?.nodeId ?? null };
  }

  // --- for the engine and the workers ---

  /** Who votes now, for the quorum engine. */
  view(): QuorumView {
    const state = this.state();
    const { cluster, epoch, seq } = state;
    const carried = this.#parts?.carryOver.isComplete(epoch) ?? false;
    return { cluster, epoch, coordinators: coordinatorsOf(state), carried, logSeq: seq };
  }

  /** The register `control-log`, for the quorum engine. */
  get kind(): RegisterKind {
    return this.#opened.kind;
  }

  /** The certificates of the register `control-log`, for the quorum engine. */
  get certificates(): CertificateBook {
    return this.#opened.certificates;
  }

  /** Takes what a peer's log has more; see `LogExchange.follow`. */
  follow(peer: PeerId): Promise<void> {
    return this.#opened.exchange.follow(peer);
  }

  /** Waits a moment until peers have the log that is here; see `LogExchange.part`. */
  async part(peers: readonly PeerId[]): Promise<void> {
    await this.#parts?.exchange.part(peers);
  }

  /** The same when nobody waits for it. */
  followLater(peer: PeerId): void {
    this.#parts?.exchange.followLater(peer);
  }

  get #opened(): Parts {
    if (this.#parts === undefined) throw new Error('the control log is not open yet');
    return this.#parts;
  }

  get #quorum() {
    const quorum = this.#dependencies.quorum();
    if (quorum === undefined) throw new Error('the quorum engine is not there yet');
    return quorum;
  }

  #assemble(store: ControlStore): Parts {
    const { kv, network, clock, random, log, votes } = this.#dependencies;
    const exchange = new LogExchange({ network, clock, log, store, carryOver: () => this.#carryOverHere() });
    const certificates = new ControlCertificates(store, (seq) => this.#catchUp(exchange, store, seq));
    const carryOver = new CarryOver({
      kv,
      clock,
      log,
      view: () => ({ epoch: store.state().epoch, votes: this.#votes() }),
      registers: () => votes.registers(),
      carry: (options) => this.#quorum.carry(options),
    });
    const holdsBack = (): ControlRefusal | undefined => carryRefusal(this.#votes() ? carryOver.status() : undefined);
    const accepted = (): Promise<string | undefined> =>
      votes.transact((votesHere) => votesHere.state(controlLogRegister).accepted?.value.head);
    const kind = new ControlLogKind({
      store,
      fetchEntries: (from, after, signal) => exchange.fetchEntries(from, after, signal),
      fetchCandidate: (from, hash, signal) => exchange.fetchCandidate(from, hash, signal),
      accepted,
      holdsBack,
    });
    const submitter = new Submitter({
      store,
      clock,
      random,
      log,
      hold: async (draft) => store.candidates.hold(draft, await accepted()),
      propose: (head, options) => this.#quorum.propose(controlLogRegister, head, options),
      canPropose: () => this.#canPropose(),
      votes: () => this.#votes(),
      catchUp: (seq) => this.#catchUp(exchange, store, seq),
      holdsBack,
      carryProgress: async () => progressOf(await this.carryOver()),
    });
    return { store, exchange, certificates, kind, carryOver, submitter };
  }

  #carryOverHere(): CarryStatus | null {
    return this.#votes() ? (this.#parts?.carryOver.status() ?? null) : null;
  }

  async #askCarryOver(peer: PeerId): Promise<CarryStatus | undefined> {
    if (!this.#dependencies.network.connectedPeers().includes(peer)) return undefined;
    try {
      return await this.#parts?.exchange.carryOverOf(peer);
    } catch (error) {
      this.#dependencies.log.debug('control:carry_over_unknown', { peer, error });
      return undefined;
    }
  }

  #votes(): boolean {
    return this.view().coordinators.some(({ nodeId }) => nodeId === this.#options.nodeId);
  }

  /** False when it is certain that nothing can be decided: too few coordinators are connected to whoever would propose. */
  #canPropose(): boolean {
    const { nodeId } = this.#options;
    const connected = new Set(this.#dependencies.network.connectedPeers());
    const { coordinators } = this.view();
    const restored = new Set(this.#quorum.restoredCoordinators());
    const reached = coordinators.filter(
      (each) => !restored.has(each.nodeId) && (each.nodeId === nodeId || connected.has(each.peerId)),
    ).length;
    // Another coordinator may reach those whom this node, which proposes nothing itself, does not.
    return this.#votes() ? reached * 2 > coordinators.length : reached > 0;
  }

  /** Asks the connected peers one by one, coordinators first, until the log is here up to a position. */
  async #catchUp(exchange: LogExchange, store: ControlStore, seq: number): Promise<void> {
    const { network, log } = this.#dependencies;
    const voting = new Set(this.view().coordinators.map(({ peerId }) => peerId));
    const peers = network.connectedPeers().toSorted((a, b) => Number(voting.has(b)) - Number(voting.has(a)));
    for (const peer of peers) {
      if (store.state().seq >= seq) return;
      await exchange.follow(peer).catch((error: unknown) => log.debug('control:not_followed', { peer, error }));
    }
  }
}

function carryRefusal(status: CarryStatus | undefined): ControlRefusal | undefined {
  if (status === undefined || status.complete) return undefined;
  const message =
    `the coordinators changed lately, and not everything confirmed has reached those of epoch ${status.epoch} yet: ` +
    'try again in a while';
  return { code: 'carry_over_running', message };
}

function progressOf(status: CarryStatus | undefined): CarryProgress | undefined {
  return status && { epoch: status.epoch, done: status.done, total: status.total };
}
