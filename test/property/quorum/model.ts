import {
  type Certificate,
  isSameValue,
  majorityOf,
  type RegisterValue,
  type Statement,
} from '../../../crdt/certificate.ts';
import type { Actor, NodeId } from '../../../crdt/ids.ts';
import type { Ballot } from '../../../crdt/quorum/ballot.ts';
import {
  type PreparedRound,
  planStep,
  prepareRound,
  proposeValue,
  type Round,
  type RoundSettings,
  requestOf,
  resumeRound,
} from '../../../crdt/quorum/proposer.ts';
import { SeededRandom } from '../../../src/adapters/memory/random.ts';
import { ModelHistory } from './model-history.ts';
import {
  type Ask,
  cluster,
  countAnswer,
  judge,
  type Listed,
  type ModelFaults,
  ModelNode,
  type ModelProfile,
  names,
  type Operation,
  type Reply,
  registers,
  voteOf,
} from './model-parts.ts';

const stepsFaulty = 1_500;
const stepsHealedMax = 30_000;

/**
 * Registers, coordinators and clients around the production's pure functions. Whatever is under way lies in one pool,
 * and each step takes out any of it: everything is reordered all the time. One seed decides all.
 */
export class QuorumModel {
  readonly #random: SeededRandom;
  readonly #faults: ModelFaults;
  readonly #profile: ModelProfile;
  readonly #nodes = new Map(names.map((id) => [id, new ModelNode(id)]));
  readonly #epochs: (readonly NodeId[])[] = [[], ['a', 'b', 'c'] as NodeId[]];
  readonly history = new ModelHistory((epoch) => this.#coordinators(epoch));
  #pool: (() => void)[] = [];
  #timeouts: (() => void)[] = [];
  #cut = new Set<NodeId>();
  #carriedEpoch = 1;
  #restored: NodeId | undefined;
  #healed = false;
  #step = 0;
  #serial = 0;
  confirmed = 0;

  constructor(seed: string, profile: ModelProfile, faults: ModelFaults = {}) {
    this.#random = new SeededRandom(seed);
    this.#profile = profile;
    this.#faults = faults;
  }

  get epoch(): number {
    return this.#epochs.length - 1;
  }

  get restoredNode(): NodeId | undefined {
    return this.#restored;
  }

  /** Runs the faulty phase and the healed one. Returns what was violated; nothing when all is well. */
  run(): readonly string[] {
    while (this.#step < stepsFaulty && this.history.violations.length === 0) {
      this.#disturb();
      this.#advance();
    }
    if (this.history.violations.length === 0) this.#heal();
    if (this.history.violations.length === 0) this.history.checkOrder();
    return this.history.violations;
  }

  #advance(): void {
    this.#step += 1;
    const timeoutsDue = this.#pool.length === 0 || (!this.#healed && this.#chance(0.03));
    this.#drawFrom(timeoutsDue && this.#timeouts.length > 0 ? this.#timeouts : this.#pool)?.();
  }

  #drawFrom(events: (() => void)[]): (() => void) | undefined {
    if (events.length === 0) return undefined;
    const at = Math.floor(this.#random.fraction() * events.length);
    const event = events[at];
    events[at] = events[events.length - 1] as () => void;
    events.pop();
    return event;
  }

  #disturb(): void {
    const node = this.#pick([...this.#nodes.values()]);
    if (this.#chance(0.08)) this.#startOperation(node, this.#pick(registers));
    if (this.#chance(this.#profile.crashes)) this.#crash(node);
    if (!node.up && this.#chance(0.2)) this.#restart(node);
    if (this.#chance(0.01)) this.#cut = new Set(names.filter(() => this.#chance(0.35)));
    if (this.#chance(0.02)) this.#cut = new Set();
    if (this.#chance(0.05)) this.#spread(node);
    if (this.#profile.changesEpochs) this.#disturbEpochs(node);
    if (this.#profile.restoresDisk) this.#disturbDisk(node);
  }

  #heal(): void {
    this.#healed = true;
    this.#cut = new Set();
    for (const node of this.#nodes.values()) {
      if (!node.up) this.#restart(node);
      node.epoch = this.epoch;
    }
    const until = this.#step + stepsHealedMax;
    this.#drain(until);
    for (const node of this.#nodes.values()) this.#askHeard(node);
    this.#drain(until);
    const goal = this.history.ended.length;
    const voters = this.#coordinators(this.epoch).filter((id) => id !== this.#restored);
    let asked = 0;
    for (const id of voters) for (const register of registers) asked += this.#startOperation(this.#node(id), register);
    this.#drain(until);
    if (this.history.violations.length === 0 && this.history.ended.length < goal + asked)
      this.history.violations.push('an operation never ended although all is well');
  }

  /** Lets everything come to its end. */
  #drain(until: number): void {
    while (this.#pool.length + this.#timeouts.length > 0 && this.history.violations.length === 0) {
      if (this.#step > until) this.history.violations.push('no progress although a majority is connected');
      else this.#advance();
    }
  }

  // Clients and proposers.

  /** 1 when an operation was started. */
  #startOperation(node: ModelNode, register: string): number {
    if (!node.up || node.operations.has(register)) return 0;
    if (!this.#coordinators(node.epoch).includes(node.id) || !this.#isChecked(node)) return 0;
    const base = node.book.get(register)?.statement.head ?? '';
    this.#serial += 1;
    this.#begin(node, register, register, `${base}.${this.#serial}`);
    return 1;
  }

  #begin(node: ModelNode, slot: string, register: string, candidate: string | null): void {
    const operation: Operation = {
      slot,
      register,
      candidate,
      startedAt: this.#step,
      key: '',
      round: undefined,
      usesCache: false,
      failures: 0,
    };
    node.operations.set(slot, operation);
    this.#attempt(node, operation);
  }

  #attempt(node: ModelNode, operation: Operation): void {
    const { register } = operation;
    const cached = node.cache.get(register);
    node.cache.delete(register);
    const usable = cached?.epoch === node.epoch ? cached : undefined;
    operation.usesCache = usable !== undefined;
    const settings: RoundSettings = {
      register,
      epoch: node.epoch,
      coordinators: this.#coordinators(node.epoch),
      ballot: usable?.ballot ?? this.#nextBallot(node),
    };
    if (usable !== undefined) this.#decide(node, operation, resumeRound(settings, usable.value));
    else this.#broadcast(node, operation, prepareRound(settings));
  }

  #broadcast(node: ModelNode, operation: Operation, round: Parameters<typeof requestOf>[0]): void {
    this.#serial += 1;
    const key = `${operation.slot}#${this.#serial}`;
    operation.key = key;
    operation.round = round;
    const request = requestOf(round);
    for (const to of round.settings.coordinators) {
      const seen = node.memory.heard.get(to) ?? 0;
      this.#send({ key, from: node.id, to, register: operation.register, seen, request });
    }
    const { life } = node;
    this.#timeouts.push(() => {
      if (node.up && node.life === life && operation.key === key && node.operations.get(operation.slot) === operation) {
        this.#attempt(node, operation);
      }
    });
  }

  #takeReply(node: ModelNode, { ask, sequence, epoch, answer }: Reply): void {
    if (epoch > node.epoch && (this.#healed || this.#chance(0.5))) node.epoch = epoch;
    if (!this.#believes(node, ask, sequence)) return;
    if (answer.t === 'heard') {
      node.checkedBy.add(ask.to);
      const forgot = answer.sequence > node.memory.sequence && !this.#faults.ignoresSequence;
      if (forgot) node.memory = { ...node.memory, restored: true };
      return;
    }
    if (answer.t === 'list') {
      this.#takeList(node, ask, answer.registers);
      return;
    }
    const operation = node.operations.get(ask.key.slice(0, ask.key.indexOf('#')));
    if (operation?.round === undefined || operation.key !== ask.key) return;
    const before = operation.round;
    operation.round = countAnswer(node, before, ask.to, answer, this.#faults);
    if (operation.round.phase === before.phase) return;
    this.#afterPhase(node, operation, operation.round);
  }

  #afterPhase(node: ModelNode, operation: Operation, round: Round): void {
    operation.key = '';
    if (round.phase === 'failed') {
      if (round.seen !== null) node.counter = Math.max(node.counter, round.seen.counter);
      this.#retry(node, operation);
    } else if (round.phase === 'prepared') {
      this.#decide(node, operation, round);
    } else if (round.phase === 'chosen') {
      this.#keep(node, round.certificate);
      this.history.record(round.certificate);
      node.cache.set(operation.register, { epoch: round.settings.epoch, ballot: round.next, value: round.value });
      if (this.#faults.reusesBallots)
        node.usedCache.set(operation.register, { epoch: round.settings.epoch, ballot: round.next, value: round.value });
      const own = operation.candidate === null || round.value.head === operation.candidate;
      if (own) this.#end(node, operation, round.value.position);
      else this.#attempt(node, operation);
    }
  }

  #decide(node: ModelNode, operation: Operation, prepared: PreparedRound): void {
    const { register, candidate } = operation;
    const certified = node.book.get(register)?.statement ?? null;
    const drops = this.#faults.dropsUncertified && prepared.current !== null;
    const unproven = drops && (certified === null || !isSameValue(certified, prepared.current as RegisterValue));
    const current = unproven ? certified : prepared.current;
    const step = planStep(current, { cluster, register, certified, candidate, judge });
    if (step.kind === 'propose') {
      this.#broadcast(node, operation, proposeValue(prepared, step.value, this.#nextBallot(node)));
    } else if (step.kind === 'nothing') {
      this.#end(node, operation, 0);
    } else if (step.kind === 'forgotten' || (step.kind === 'refused' && operation.usesCache)) {
      if (step.kind === 'forgotten') this.history.forgotten(prepared, certified as Statement);
      this.#retry(node, operation);
    } else {
      this.#end(node, operation, certified?.position ?? 0);
    }
  }

  #end(node: ModelNode, operation: Operation, position: number): void {
    node.operations.delete(operation.slot);
    const { register, startedAt, candidate, slot } = operation;
    if (candidate === null) {
      if (slot.startsWith(`carry ${node.carry?.epoch} `)) this.#carried(node, register);
      return;
    }
    this.confirmed += 1;
    this.history.ended.push({ register, startedAt, endedAt: this.#step, position });
  }

  #nextBallot(node: ModelNode): Ballot {
    node.counter += 1;
    return { counter: node.counter, proposer: `${node.id}.${this.#faults.reusesBallots ? 1 : node.life}` as Actor };
  }

  #keep(node: ModelNode, certificate: Certificate): void {
    const { register, position } = certificate.statement;
    if ((node.book.get(register)?.statement.position ?? 0) <= position) node.book.set(register, certificate);
  }

  /** A certificate reaches another node, as gossip brings it. */
  #spread(node: ModelNode): void {
    for (const certificate of node.book.values()) {
      const other = this.#pick([...this.#nodes.values()]);
      this.#pool.push(() => this.#keep(other, certificate));
    }
  }

  // Acceptors.

  #takeAsk(node: ModelNode, ask: Ask): void {
    const asked = ask.request.epoch;
    if (asked > node.epoch && (this.#healed || this.#chance(0.5))) node.epoch = asked;
    let { memory } = node;
    if (node.epoch > memory.epoch) memory = { ...memory, epoch: node.epoch };
    if (ask.seen > memory.sequence && !this.#faults.ignoresSequence) memory = { ...memory, restored: true };
    const votes = !memory.restored && this.#coordinators(memory.epoch).includes(node.id);
    if (!votes && !(this.#faults.ignoresEpochs && this.#coordinators(asked).includes(node.id))) {
      node.memory = memory;
      this.#answerLater(node, { ask, sequence: Number.MAX_SAFE_INTEGER, epoch: memory.epoch, answer: { t: 'lost' } });
      return;
    }
    memory = { ...memory, sequence: memory.sequence + 1 };
    const { states, answer } = voteOf(memory, ask, node.id, this.#faults);
    node.memory = { ...memory, states };
    // Who checks no epoch tells of none.
    const epoch = this.#faults.ignoresEpochs ? asked : memory.epoch;
    this.#answerLater(node, { ask, sequence: memory.sequence, epoch, answer });
  }

  /** Write, flush, send: a crash can come between any two of them. */
  #answerLater(node: ModelNode, reply: Reply): void {
    if (this.#faults.answersBeforeFlush) this.#sendReply(reply);
    else node.waiting.push(reply);
    this.#onNode(node, () => {
      node.disk = node.memory;
      node.outbox.push(...node.waiting.splice(0));
      this.#onNode(node, () => {
        for (const each of node.outbox.splice(0)) this.#sendReply(each);
      });
    });
  }

  #believes(node: ModelNode, ask: Ask, sequence: number): boolean {
    if (sequence === Number.MAX_SAFE_INTEGER) return true;
    if (sequence <= ask.seen && !this.#faults.ignoresSequence) return false;
    const heard = new Map(node.memory.heard).set(ask.to, Math.max(node.memory.heard.get(ask.to) ?? 0, sequence));
    node.memory = { ...node.memory, heard };
    return true;
  }

  // Epochs.

  #disturbEpochs(node: ModelNode): void {
    const { epoch } = this;
    if (epoch < 7 && this.#carriedEpoch === epoch && this.#chance(0.05)) {
      const next = this.#changedSet(this.#coordinators(epoch));
      this.#epochs.push(next);
      this.#node(this.#pick(next)).epoch = epoch + 1;
    }
    if (node.epoch < epoch && this.#chance(0.02)) node.epoch += 1;
    if (node.up && node.epoch === epoch && this.#carriedEpoch < epoch && this.#chance(0.1)) this.#startCarry(node);
  }

  #changedSet(before: readonly NodeId[]): readonly NodeId[] {
    const others = names.filter((id) => !before.includes(id));
    const grows = before.length <= 2 || (before.length < 4 && this.#chance(0.5));
    if (grows) return [...before, this.#pick(others)].sort();
    const leaver = this.#pick(before);
    return before.filter((id) => id !== leaver);
  }

  #startCarry(node: ModelNode): void {
    if (node.carry?.epoch === this.epoch || !this.#isChecked(node) || !this.#coordinators(this.epoch).includes(node.id))
      return;
    node.carry = { epoch: this.epoch, answered: new Set(), named: new Map(), left: new Set() };
    for (const to of this.#coordinators(this.epoch)) {
      const seen = node.memory.heard.get(to) ?? 0;
      const request = { t: 'list', epoch: this.epoch } as const;
      this.#send({ key: 'list#0', from: node.id, to, register: '', seen, request });
    }
  }

  #takeList(node: ModelNode, ask: Ask, registers: Listed['registers']): void {
    const { carry } = node;
    if (carry === undefined || carry.epoch !== ask.request.epoch || carry.answered.has(ask.to)) return;
    const majority = majorityOf(this.#coordinators(carry.epoch).length);
    if (carry.answered.size >= majority) return;
    carry.answered.add(ask.to);
    for (const [name, current] of registers) carry.named.set(name, (carry.named.get(name) ?? 0) + (current ? 1 : 0));
    if (carry.answered.size < majority) return;
    for (const [name, count] of carry.named) if (count < majority) carry.left.add(name);
    if (carry.left.size === 0) this.#carriedEpoch = Math.max(this.#carriedEpoch, carry.epoch);
    for (const register of carry.left) {
      this.#begin(node, `carry ${carry.epoch} ${register}`, register, null);
    }
  }

  #carried(node: ModelNode, register: string): void {
    const { carry } = node;
    if (carry === undefined) return;
    carry.left.delete(register);
    if (carry.left.size === 0) this.#carriedEpoch = Math.max(this.#carriedEpoch, carry.epoch);
  }

  // Disks, crashes and the network.

  /** The older disk is put back only once every node has, on disk, heard a later vote: that is what the watch promises. */
  #disturbDisk(node: ModelNode): void {
    if (this.#restored !== undefined || !this.#coordinators(1).includes(node.id)) return;
    if (node.backup === undefined) {
      if (this.#chance(0.02)) node.backup = node.disk;
      return;
    }
    const { sequence } = node.backup;
    const others = this.#coordinators(1).filter((id) => id !== node.id);
    if (!others.every((id) => (this.#node(id).disk.heard.get(node.id) ?? 0) > sequence)) return;
    if (!this.#chance(0.05)) return;
    this.#crash(node);
    // Its own proposer had heard of its votes on the disk that is gone.
    node.disk = node.backup;
    this.#restored = node.id;
  }

  #crash(node: ModelNode): void {
    if (!node.up) return;
    node.up = false;
    node.waiting = [];
    node.outbox = [];
    node.operations.clear();
    node.cache.clear();
    node.carry = undefined;
  }

  #restart(node: ModelNode): void {
    node.up = true;
    node.life += 1;
    node.counter = this.#faults.reusesBallots ? node.counter : 0;
    for (const [register, cached] of node.usedCache) node.cache.set(register, cached);
    node.memory = node.disk;
    node.checkedBy.clear();
    this.#askHeard(node);
  }

  /** A node that comes back asks the others what they have heard of its votes before it proposes. */
  #askHeard(node: ModelNode): void {
    for (const to of this.#coordinators(node.epoch)) {
      if (to === node.id) continue;
      const seen = node.memory.heard.get(to) ?? 0;
      const request = { t: 'heard', epoch: node.epoch } as const;
      this.#send({ key: 'heard#0', from: node.id, to, register: '', seen, request });
    }
  }

  #isChecked(node: ModelNode): boolean {
    return node.life === 1 || node.checkedBy.size >= majorityOf(this.#coordinators(node.epoch).length) - 1;
  }

  #send(ask: Ask): void {
    this.#carryOver(ask.from, ask.to, (node) => this.#takeAsk(node, ask));
  }

  #sendReply(reply: Reply): void {
    this.#carryOver(reply.ask.to, reply.ask.from, (node) => this.#takeReply(node, reply));
  }

  #carryOver(from: NodeId, to: NodeId, arrive: (node: ModelNode) => void): void {
    const copies = this.#healed || from === to ? 1 : this.#chance(0.05) ? 0 : this.#chance(0.05) ? 2 : 1;
    const sender = this.#node(from);
    const { life } = sender;
    for (let copy = 0; copy < copies; copy += 1) {
      this.#pool.push(() => {
        const node = this.#node(to);
        // Part of what a node had sent goes down with it.
        if ((!sender.up || sender.life !== life) && this.#chance(0.7)) return;
        if (node.up && this.#cut.has(from) === this.#cut.has(to)) arrive(node);
      });
    }
  }

  /** Tries again after a while that doubles with every failure, on the average. */
  #retry(node: ModelNode, operation: Operation): void {
    operation.failures += 1;
    const wait = (): void => {
      if (node.operations.get(operation.slot) !== operation) return;
      if (this.#chance(1 / 2 ** Math.min(operation.failures, 6))) this.#attempt(node, operation);
      else this.#onNode(node, wait);
    };
    this.#onNode(node, wait);
  }

  /** Something the node does next, unless it crashes before. */
  #onNode(node: ModelNode, task: () => void): void {
    const { life } = node;
    this.#pool.push(() => {
      if (node.up && node.life === life) task();
    });
  }

  // Small things.

  #coordinators(epoch: number): readonly NodeId[] {
    return this.#epochs[epoch] ?? [];
  }

  #node(id: NodeId): ModelNode {
    return this.#nodes.get(id) as ModelNode;
  }

  #pick<T>(items: readonly T[]): T {
    return items[Math.floor(this.#random.fraction() * items.length)] as T;
  }

  #chance(probability: number): boolean {
    return this.#random.fraction() < probability;
  }
}
