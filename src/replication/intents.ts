import type { BlobHash, NodeId, PeerId } from '../../crdt/ids.ts';
import { orderHoldersMax, ordersMax } from '../../protocols/replicas/limits.ts';
import type { Order } from '../../protocols/replicas/server.ts';
import type { Clock } from '../ports/clock.ts';
import type { Kv, KvTransaction } from '../ports/kv.ts';
import type { Log } from '../ports/log.ts';
import { MeshError } from '../ports/mesh-error.ts';
import type { Metrics } from '../ports/metrics.ts';
import type { Random } from '../ports/random.ts';
import type { Absent } from './absences.ts';
import type { ContentDropper, DropResult } from './content-dropper.ts';
import { HolderQuestions } from './holder-questions.ts';
import { askAfterMsMin, type LoadedIntent, LoadedIntents, type WriteIntent } from './loaded-intents.ts';
import type { PlacementDirectory } from './placement-directory.ts';
import type { ContentShelf } from './proof-giver.ts';
import { ProvedCopies } from './proved-copies.ts';
import type { ReplicaPeers } from './replica-peers.ts';
import type { ReplicaProver } from './replica-prover.ts';
import { intentKey } from './storage-keys.ts';
import { WriteChallenges } from './write-challenges.ts';

/** Intents asked about in one turn, so that nothing else waits for it. */
const perTurnMax = 256;
/**
 * Between two turns, unless the first left some that were due and the holders had most of what they were asked for: what
 * is written meanwhile shares messages and flushes, and who is catching up gets on with it.
 */
const restMsMin = 500;
/** A turn goes past every intent in memory: so many of them for each millisecond of rest between two turns. */
const lookedAtPerMsMax = 256;
/** A holder that still lacks a content after waits that have come to this is told: it may not know the version. */
const orderAfterMs = 1_000;
/** Copies past which a confirmed head is not the only copy of itself. */
const backingCopies = 2;
/** What is bound, or was not proved whole just now by enough nodes, can be dropped later. */
const laterResults: ReadonlySet<DropResult> = new Set<DropResult>([
  'bound',
  'changed',
  'too_few_proofs',
  'too_little_diversity',
]);

export interface IntentsDependencies {
  readonly kv: Kv;
  readonly clock: Clock;
  readonly random: Random;
  readonly placement: PlacementDirectory;
  readonly absent: () => Absent;
  readonly prover: ReplicaProver;
  readonly peers: ReplicaPeers;
  readonly peerOf: (node: NodeId) => PeerId | undefined;
  readonly dropper: ContentDropper;
  readonly shelf: ContentShelf;
  readonly self: NodeId;
  /** A node has proved a content to this one. */
  readonly onProved: (node: NodeId, manifest: BlobHash) => void;
  readonly log: Log;
  readonly metrics: Metrics;
}

/**
 * The writes of this node that its desired holders have not proved yet. Each is a row from the transaction of the write
 * until enough of them have: then this node drops its own copy if it is none of them, or keeps it. So a write is never
 * left to one disk unnoticed, not over restarts either.
 */
export class WriteIntents {
  readonly #dependencies: IntentsDependencies;
  readonly #loaded: LoadedIntents;
  readonly #proved: ProvedCopies;
  readonly #questions: HolderQuestions;
  readonly #challenges: WriteChallenges;
  #cancelTimer: (() => void) | undefined;
  #timerAtMs = Number.POSITIVE_INFINITY;
  #restUntilMs = Number.NEGATIVE_INFINITY;
  /** What the holders had, and lacked, of what this turn has asked them for. */
  #answers = { proved: 0, lacking: 0 };
  #turning: Promise<void> | undefined;
  /** Writes that this node need not hold, until they have been dropped. */
  #leaving: LoadedIntent[] = [];
  #dropping: Promise<void> | undefined;
  #unsubscribe: () => void = () => undefined;
  #running = false;

  constructor(dependencies: IntentsDependencies) {
    this.#dependencies = dependencies;
    this.#loaded = new LoadedIntents(dependencies);
    this.#proved = new ProvedCopies();
    this.#questions = new HolderQuestions(dependencies.clock);
    this.#challenges = new WriteChallenges(dependencies);
  }

  /** Takes up the intents of an earlier life. `onPeerConnected` calls back when a peer has come. */
  start(onPeerConnected: (listener: () => void) => () => void): void {
    this.#running = true;
    this.#loaded.show();
    this.#unsubscribe = onPeerConnected(() => this.#hurry());
    this.#plan(0);
  }

  async stop(): Promise<void> {
    this.#running = false;
    this.#unsubscribe();
    this.#cancelTimer?.();
    await this.#turning;
    await Promise.all([this.#questions.settled(), this.#dropping]);
  }

  /** Notes a write in its own transaction. Costs nothing where no other node is to hold its content. */
  note(transaction: KvTransaction, intent: WriteIntent): void {
    const { placement, self } = this.#dependencies;
    const isAlone = placement.map().nodes.every(({ nodeId }) => nodeId === self);
    if (isAlone || this.#othersOf(intent).length === 0) return;
    if (this.#loaded.note(transaction, intent)) this.#plan(askAfterMsMin);
  }

  /** Copies of a content that are known to be there: proved to this node lately, and its own. */
  provedCopies(manifest: BlobHash): number {
    const { kv, shelf } = this.#dependencies;
    const own = shelf.sizeOf(kv, manifest) === undefined ? 0 : 1;
    return own + this.#proved.of(manifest).size;
  }

  /**
   * Whether enough copies of a write's content are proved for it to be confirmed: two, or all that it is to have when
   * those are fewer. Nothing is waited for where this node notes no intent, or is done with it.
   */
  isBacked({ ns, key, version, manifest }: Omit<WriteIntent, 'sizeBytes'>): boolean {
    const { kv, placement } = this.#dependencies;
    if (kv.get(intentKey(manifest, version)) === undefined) return true;
    return this.provedCopies(manifest) >= Math.min(backingCopies, placement.desired(ns, key).holders.length);
  }

  /** Calls back whenever a node has proved its copy of a content. Returns the unsubscriber. */
  onProved(listener: (manifest: BlobHash, node: NodeId) => void): () => void {
    return this.#proved.onAdded(listener);
  }

  /** What was proved by those who are members no more backs nothing any more. */
  membersChanged(members: { has(node: NodeId): boolean }): void {
    this.#proved.keepOnly(members);
  }

  /** A node was disconnected. What it was bound to keep it may have lost by the time it is back, so drops ask it again. */
  nodeGone(node: NodeId): void {
    this.#challenges.forgetNode(node);
  }

  /** Writes that wait for proofs, those that are only on disk excepted. */
  get pending(): number {
    return this.#loaded.size;
  }

  /** How many writes wait for proofs, those on disk among them up to a bound, and how many of them have for long. */
  waiting(): { readonly count: number; readonly late: number } {
    return this.#loaded.waiting();
  }

  /** A peer has come, and may be one that is waited for. */
  #hurry(): void {
    this.#loaded.hurry();
    if (this.#loaded.size > 0) this.#plan(askAfterMsMin);
  }

  #plan(delayMs: number): void {
    const { clock } = this.#dependencies;
    const nowMs = clock.monotonicMs();
    const atMs = Math.max(nowMs + delayMs, this.#restUntilMs);
    if (!this.#running || this.#turning !== undefined || this.#timerAtMs <= atMs) return;
    this.#cancelTimer?.();
    this.#timerAtMs = atMs;
    this.#cancelTimer = clock.setTimer(atMs - nowMs, () => {
      this.#timerAtMs = Number.POSITIVE_INFINITY;
      this.#turning = this.#turn()
        .catch((error: unknown) => this.#failed(error))
        .finally(() => {
          this.#turning = undefined;
          this.#planNext();
        });
    });
  }

  #planNext(): void {
    const dueMs = this.#loaded.nextDueMs();
    const restMs = Math.max(1, this.#loaded.size / lookedAtPerMsMax);
    if (Number.isFinite(dueMs)) this.#plan(Math.max(restMs, dueMs - this.#dependencies.clock.monotonicMs()));
  }

  #failed(error: unknown): void {
    if (error instanceof MeshError && error.code === 'shutting_down') return;
    this.#dependencies.log.warn('intents:turn_failed', { error });
    // A disk that fails is not asked again at once.
    this.#loaded.postpone();
  }

  async #turn(): Promise<void> {
    const { clock } = this.#dependencies;
    this.#loaded.takeUp();
    const nowMs = clock.monotonicMs();
    const due: LoadedIntent[] = [];
    for (const loaded of this.#loaded.values()) {
      if (loaded.dueMs > nowMs || loaded.isLeaving) continue;
      if (this.#loaded.isWritten(loaded)) due.push(loaded);
      if (due.length === perTurnMax) break;
    }
    if (due.length === 0) return;
    this.#answers = { proved: 0, lacking: 0 };
    this.#ask(due.map(({ intent }) => intent));
    await this.#questions.answered();
    await this.#resolve(due);
    const { proved, lacking } = this.#answers;
    // Holders that lack most of it are busy getting it, and asking on and on would hold them up.
    if (due.length < perTurnMax || lacking > proved) this.#restUntilMs = clock.monotonicMs() + restMsMin;
    this.#loaded.show();
  }

  /** Has the holders of these writes prove what they have not proved yet, all of one holder together. */
  #ask(intents: readonly WriteIntent[]): void {
    const { peerOf, peers } = this.#dependencies;
    const asked = new Map<NodeId, Map<BlobHash, WriteIntent>>();
    for (const intent of intents) {
      for (const node of this.#othersOf(intent)) {
        if (this.#questions.isOpen(node) || this.#proved.of(intent.manifest).has(node)) continue;
        asked.set(node, (asked.get(node) ?? new Map<BlobHash, WriteIntent>()).set(intent.manifest, intent));
      }
    }
    for (const [node, byManifest] of asked) {
      const peer = peerOf(node);
      if (peer === undefined || !peers.isConnected(peer)) continue;
      this.#questions.begin(node, (isLate) =>
        this.#askOne({ node, peer }, [...byManifest.values()], isLate).catch((error: unknown) => this.#failed(error)),
      );
    }
  }

  async #askOne(
    { node, peer }: { readonly node: NodeId; readonly peer: PeerId },
    contents: readonly WriteIntent[],
    isLate: () => boolean,
  ): Promise<void> {
    const { onProved, clock } = this.#dependencies;
    const proofs = await this.#challenges.prove(node, contents);
    const lacking: WriteIntent[] = [];
    for (const [index, { result }] of proofs.entries()) {
      const intent = contents[index] as WriteIntent;
      if (result === 'lacking') lacking.push(intent);
      if (result !== 'proved') continue;
      this.#answers.proved += 1;
      onProved(node, intent.manifest);
      this.#proved.add(intent.manifest, node);
      // No turn has waited for this.
      const loaded = isLate() ? this.#loaded.get(intent) : undefined;
      if (loaded !== undefined) loaded.dueMs = clock.monotonicMs();
    }
    this.#answers.lacking += lacking.length;
    if (isLate()) this.#planNext();
    await this.#order(peer, lacking);
  }

  /** Tells a holder of writes that it should have fetched by now. */
  async #order(peer: PeerId, lacking: readonly WriteIntent[]): Promise<void> {
    const { kv, shelf, peers, self, log } = this.#dependencies;
    const late = lacking.filter((intent) => (this.#loaded.get(intent)?.waitMs ?? 0) >= orderAfterMs);
    for (let start = 0; start < late.length; start += ordersMax) {
      const orders = late.slice(start, start + ordersMax).map(({ ns, key, version, manifest }): Order => {
        const others = [...this.#proved.of(manifest)];
        const holders = shelf.sizeOf(kv, manifest) === undefined ? others : [self, ...others];
        return { ns, key, version, manifest, holders: holders.slice(0, orderHoldersMax) };
      });
      try {
        await peers.ask(peer, 'talk', (client) => client.order(orders));
      } catch (error) {
        // It is asked again, and told again then.
        log.debug('intents:not_ordered', { peer, error });
        return;
      }
    }
  }

  async #resolve(due: readonly LoadedIntent[]): Promise<void> {
    const { self, placement } = this.#dependencies;
    const kept: LoadedIntent[] = [];
    for (const loaded of due) {
      const { ns, key } = loaded.intent;
      if (!this.#isProved(loaded.intent)) this.#loaded.wait(loaded);
      else if (placement.holds(self, ns, key)) kept.push(loaded);
      // A drop has all holders prove the whole of it, and the others would wait for one that is silent.
      else if (this.#questions.hasSilent(this.#othersOf(loaded.intent))) this.#loaded.wait(loaded);
      else {
        loaded.isLeaving = true;
        this.#leaving.push(loaded);
      }
    }
    this.#dropSoon();
    await this.#forget(kept);
  }

  /** Drops what need not be held: beside the turns, for holders read all of it, and one drop after the other. */
  #dropSoon(): void {
    if (!this.#running || this.#dropping !== undefined || this.#leaving.length === 0) return;
    this.#dropping = this.#drop(this.#leaving.splice(0, perTurnMax))
      .catch((error: unknown) => this.#failed(error))
      .finally(() => {
        this.#dropping = undefined;
        this.#dropSoon();
        this.#planNext();
      });
  }

  async #drop(surplus: readonly LoadedIntent[]): Promise<void> {
    try {
      const manifests = surplus.map(({ intent }) => intent.manifest);
      const results = await this.#dependencies.dropper.drop(manifests, (each) => this.#challenges.boundUntilMs(each));
      const done: LoadedIntent[] = [];
      for (const loaded of surplus) {
        const result = results.get(loaded.intent.manifest);
        if (result !== undefined && laterResults.has(result)) this.#loaded.wait(loaded);
        else done.push(loaded);
      }
      await this.#forget(done);
    } finally {
      for (const loaded of surplus) loaded.isLeaving = false;
    }
  }

  #isProved(intent: WriteIntent): boolean {
    const { kv, placement, absent, shelf, self } = this.#dependencies;
    const { ns, key, manifest } = intent;
    const { desired, substitutes } = placement.assigned(ns, key, absent().gone);
    const proved = this.#proved.of(manifest);
    // A version that takes over the content of another may be written where that is still on its way.
    const isOwn = desired.holders.includes(self) || substitutes.includes(self);
    const own = isOwn && shelf.sizeOf(kv, manifest) !== undefined ? 1 : 0;
    const others = [...desired.holders, ...substitutes].filter((node) => proved.has(node)).length;
    return own + others >= desired.holders.length;
  }

  async #forget(done: readonly LoadedIntent[]): Promise<void> {
    const intents = done.map(({ intent }) => intent);
    await this.#loaded.forget(intents);
    for (const { manifest } of intents) this.#challenges.forget(manifest);
  }

  #othersOf({ ns, key }: Pick<WriteIntent, 'ns' | 'key'>): NodeId[] {
    const { placement, absent, self } = this.#dependencies;
    const { gone } = absent();
    const desired = placement.desired(ns, key).holders;
    const all = gone.size === 0 ? desired : [...desired, ...placement.assigned(ns, key, gone).substitutes];
    return all.filter((node) => node !== self);
  }
}
