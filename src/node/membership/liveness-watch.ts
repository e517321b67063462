import type { ControlMember } from '../../../crdt/control/member.ts';
import type { NodeId, PeerId } from '../../../crdt/ids.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Log } from '../../ports/log.ts';
import type { Gauge, Metrics } from '../../ports/metrics.ts';
import type { Network } from '../../ports/network.ts';
import type { EventBody } from '../event-log.ts';
import type { MemberDirectory } from '../member-directory.ts';
import { type LifeSign, type LivenessState, LivenessTable, type LivenessTimes, type Transition } from './liveness.ts';

const states: readonly LivenessState[] = ['unknown', 'online', 'suspect', 'offline', 'draining'];

interface Dependencies {
  readonly network: Pick<Network, 'onPeerChange'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly members: MemberDirectory;
  /** Tells whoever reads the node's events. */
  readonly record: (event: EventBody) => void;
}

/**
 * Which members live, as this node sees it, and who wants to know when that changes. Each node sees for itself:
 * nothing that all nodes must agree on may follow from it.
 */
export class LivenessWatch {
  readonly #dependencies: Dependencies;
  readonly #nodeId: NodeId;
  readonly #table: LivenessTable;
  readonly #listeners = new Set<(transition: Transition) => void>();
  readonly #gauge: Gauge;
  readonly #startedMs: number;
  #unsubscribe: () => void = () => undefined;
  #isDraining = false;

  constructor(dependencies: Dependencies, options: { readonly nodeId: NodeId; readonly times: () => LivenessTimes }) {
    this.#dependencies = dependencies;
    this.#nodeId = options.nodeId;
    this.#startedMs = dependencies.clock.monotonicMs();
    this.#table = new LivenessTable(options.times, this.#startedMs);
    this.#gauge = dependencies.metrics.gauge({
      name: 'anabranch_nodes',
      help: 'Other members by what this node takes them for: unknown, online, suspect, offline or draining.',
      labels: ['state'],
    });
  }

  /** Called once the control log is open and before the network starts. */
  start(): void {
    this.membersChanged();
    this.#unsubscribe = this.#dependencies.network.onPeerChange(({ kind, peer }) => this.#noticePeer(peer, kind));
  }

  stop(): void {
    this.#unsubscribe();
  }

  /**
   * Calls back after every change of another member's state, once `stateOf` shows it. Returns the unsubscriber. A
   * listener must not throw.
   */
  onTransition(listener: (transition: Transition) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Calls back when another member went offline or came back from it. Returns the unsubscriber. */
  onChange(listener: () => void): () => void {
    return this.onTransition(({ from, to }) => {
      if (from === 'offline' || to === 'offline') listener();
    });
  }

  /** This node itself is `online`, or `draining`. Undefined for who is no member. */
  stateOf(nodeId: NodeId): LivenessState | undefined {
    if (nodeId === this.#nodeId) return this.#isDraining ? 'draining' : 'online';
    return this.#table.stateOf(nodeId);
  }

  /** Milliseconds since when the state is what it is; undefined for who is no member. */
  inStateForMs(nodeId: NodeId): number | undefined {
    const sinceMs = nodeId === this.#nodeId ? this.#startedMs : this.#table.lifeOf(nodeId)?.sinceMs;
    return sinceMs === undefined ? undefined : this.#dependencies.clock.monotonicMs() - sinceMs;
  }

  /** For how long a member has been offline, in milliseconds; undefined while it is not. */
  offlineForMs(nodeId: NodeId): number | undefined {
    return this.stateOf(nodeId) === 'offline' ? this.inStateForMs(nodeId) : undefined;
  }

  /** How long ago the last sign of life of another member was; undefined for who is none. */
  silentForMs(nodeId: NodeId): number | undefined {
    const lastMs = this.#table.lifeOf(nodeId)?.lastSignMs;
    return lastMs === undefined ? undefined : this.#dependencies.clock.monotonicMs() - lastMs;
  }

  /** True for another member that is suspect or offline. */
  isDoubtful(nodeId: NodeId): boolean {
    const state = this.stateOf(nodeId);
    return state === 'suspect' || state === 'offline';
  }

  /** Takes a sign of another member in. */
  notice(nodeId: NodeId, sign: LifeSign): void {
    this.#tell(this.#table.notice(nodeId, sign, this.#dependencies.clock.monotonicMs()));
  }

  /** Sees who has been silent for too long; to be called every second or so. */
  look(): void {
    this.#tell(this.#table.look(this.#dependencies.clock.monotonicMs()));
  }

  /** The control log has other members, or other members drain. */
  membersChanged(): void {
    const { members, clock } = this.#dependencies;
    const own = members.byNode(this.#nodeId);
    this.#isDraining = own?.draining === true;
    const others = members.members.filter(({ nodeId }) => nodeId !== this.#nodeId);
    const watched = others.map(({ nodeId, draining }: ControlMember) => ({ nodeId, draining: draining === true }));
    this.#tell(this.#table.setMembers(watched, clock.monotonicMs()));
    this.#count();
  }

  #noticePeer(peer: PeerId, kind: 'connected' | 'disconnected'): void {
    const member = this.#dependencies.members.byPeer(peer);
    if (member !== undefined) this.notice(member.nodeId, kind);
  }

  #tell(transitions: readonly Transition[]): void {
    if (transitions.length === 0) return;
    const { members, clock, log, record } = this.#dependencies;
    this.#count();
    for (const transition of transitions) {
      const { nodeId, from, to } = transition;
      const name = members.byNode(nodeId)?.name ?? '';
      record({ type: 'node', data: { nodeId, name, state: to, since: clock.nowMs() } });
      log.info('node:changed', { nodeId, name, from, to });
      for (const listener of [...this.#listeners]) listener(transition);
    }
  }

  #count(): void {
    const counts = new Map<LivenessState, number>(states.map((state) => [state, 0]));
    for (const nodeId of this.#table.nodes()) {
      const state = this.#table.stateOf(nodeId);
      if (state !== undefined) counts.set(state, (counts.get(state) ?? 0) + 1);
    }
    for (const [state, count] of counts) this.#gauge.set(count, { state });
  }
}
