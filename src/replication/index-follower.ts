import type { NodeId, PeerId } from '../../crdt/ids.ts';
import type { FollowedSet } from '../../protocols/wire/set-following.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import { MeshError } from '../ports/mesh-error.ts';
import type { Counter, Metrics } from '../ports/metrics.ts';
import type { Random } from '../ports/random.ts';
import type { ReplicaIndex } from './replica-index.ts';
import type { ReplicaPeers } from './replica-peers.ts';

/** Mean time between two looks at a member's feed; each is drawn from half to one and a half of it. */
const followEveryMsDefault = 5_000;
/** Members followed at once. */
const followedAtOnceMax = 4;
const backoffMsMin = 1_000;
const backoffMsMax = 60_000;
/** A member whose inventory is none waits at least this long for the next look. */
const faultBackoffMs = 30_000;

/** A member, as far as following it goes. */
export interface FollowedMember {
  readonly nodeId: NodeId;
  readonly peerId: PeerId;
}

export interface IndexFollowerDependencies {
  readonly index: ReplicaIndex;
  readonly peers: ReplicaPeers;
  readonly members: () => readonly FollowedMember[];
  /** Whether this node keeps the index: it is a coordinator. */
  readonly isKeeper: () => boolean;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
}

interface Progress {
  failures: number;
  notBeforeMs: number;
}

/** Keeps a coordinator's replica index in step with every member it is connected to. */
export class IndexFollower {
  readonly #dependencies: IndexFollowerDependencies;
  readonly #self: NodeId;
  readonly #everyMs: number;
  readonly #progress = new Map<NodeId, Progress>();
  readonly #underWay = new Map<NodeId, Promise<void>>();
  readonly #rounds: Counter;
  #cancelTimer: (() => void) | undefined;
  #forgetting: Promise<void> = Promise.resolve();
  #running = false;

  constructor(
    dependencies: IndexFollowerDependencies,
    options: { readonly self: NodeId; readonly followEveryMs?: number | undefined },
  ) {
    this.#dependencies = dependencies;
    this.#self = options.self;
    this.#everyMs = options.followEveryMs ?? followEveryMsDefault;
    this.#rounds = dependencies.metrics.counter({
      name: 'anabranch_replica_index_rounds_total',
      help: 'Looks at the inventories of members, by how they ended.',
      labels: ['outcome'],
    });
  }

  start(): void {
    this.#running = true;
    this.#plan();
  }

  async stop(): Promise<void> {
    this.#running = false;
    this.#cancelTimer?.();
    await Promise.allSettled([...this.#underWay.values(), this.#forgetting]);
  }

  /** Looks at every member that can be reached, now; `isDeep` compares ranges as well. Never rejects. */
  async refresh(isDeep: boolean): Promise<void> {
    const { isKeeper, members, peers } = this.#dependencies;
    if (!isKeeper()) return;
    const reachable = members().filter(({ nodeId, peerId }) => nodeId !== this.#self && peers.isConnected(peerId));
    for (let start = 0; start < reachable.length; start += followedAtOnceMax) {
      const some = reachable.slice(start, start + followedAtOnceMax);
      await Promise.all(some.map((member) => this.#follow(member, isDeep)));
    }
  }

  /** Looks at one member, now. False when it could not be asked. Never rejects. */
  async refreshOne(node: NodeId): Promise<boolean> {
    const { isKeeper, members, peers } = this.#dependencies;
    const member = members().find(({ nodeId }) => nodeId === node);
    if (!isKeeper() || member === undefined || !peers.isConnected(member.peerId)) return false;
    await this.#follow(member, false);
    return this.#progress.get(node)?.failures === 0;
  }

  #plan(): void {
    const { clock, random } = this.#dependencies;
    this.#cancelTimer = clock.setTimer(this.#everyMs * (0.5 + random.fraction()), () => {
      this.#turn()
        .catch((error: unknown) => this.#dependencies.log.warn('replicas:not_followed', { error }))
        .finally(() => {
          if (this.#running) this.#plan();
        });
    });
  }

  async #turn(): Promise<void> {
    const { isKeeper, members, peers, clock, index } = this.#dependencies;
    if (!isKeeper()) return;
    const all = members();
    this.#forgetting = index.keepOnly(new Set(all.map(({ nodeId }) => nodeId)));
    await this.#forgetting;
    const nowMs = clock.monotonicMs();
    const due = all.filter(({ nodeId, peerId }) => {
      // What this node holds itself the index reads where it is.
      if (nodeId === this.#self || !peers.isConnected(peerId)) return false;
      return (this.#progress.get(nodeId)?.notBeforeMs ?? 0) <= nowMs;
    });
    for (const nodeId of this.#progress.keys()) {
      if (!all.some((member) => member.nodeId === nodeId)) this.#progress.delete(nodeId);
    }
    for (let start = 0; start < due.length && this.#running; start += followedAtOnceMax) {
      const some = due.slice(start, start + followedAtOnceMax);
      await Promise.all(some.map((member) => this.#follow(member, false)));
    }
  }

  /** Never two looks at one member at once: the second waits, and goes on from where the first came to. */
  async #follow(member: FollowedMember, isDeep: boolean): Promise<void> {
    await this.#underWay.get(member.nodeId);
    const following = this.#followOnce(member, isDeep).finally(() => {
      if (this.#underWay.get(member.nodeId) === following) this.#underWay.delete(member.nodeId);
    });
    this.#underWay.set(member.nodeId, following);
    await following;
  }

  async #followOnce({ nodeId, peerId }: FollowedMember, isDeep: boolean): Promise<void> {
    const { index, peers } = this.#dependencies;
    const progress = this.#progress.get(nodeId) ?? { failures: 0, notBeforeMs: 0 };
    this.#progress.set(nodeId, progress);
    try {
      const set: FollowedSet = {
        feed: (feed, after) => peers.ask(peerId, 'talk', (client) => client.feed(feed, after)),
        ranges: (questions) => peers.ask(peerId, 'talk', (client) => client.ranges(questions)),
      };
      await index.follow(nodeId, set, isDeep);
      progress.failures = 0;
      progress.notBeforeMs = 0;
      this.#rounds.add(1, { outcome: 'complete' });
    } catch (error) {
      this.#failed(nodeId, progress, error);
    }
  }

  #failed(node: NodeId, progress: Progress, error: unknown): void {
    const { clock, random, log } = this.#dependencies;
    const code = error instanceof MeshError ? error.code : 'io_error';
    if (code === 'shutting_down') return;
    progress.failures += 1;
    const backoffMs = Math.min(backoffMsMax, backoffMsMin * 2 ** Math.min(progress.failures, 10));
    const isFault = code === 'protocol_violation';
    progress.notBeforeMs =
      clock.monotonicMs() + Math.max(isFault ? faultBackoffMs : 0, backoffMs * (0.5 + random.fraction()));
    this.#rounds.add(1, { outcome: code });
    log[isFault || code === 'io_error' ? 'warn' : 'debug']('replicas:not_followed', { node, code, error });
  }
}
