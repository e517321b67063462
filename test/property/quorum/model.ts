import {
  type Certificate,
  isSameValue,
  majorityOf,
  type RegisterValue,
  type Statement,
} from '../../../crdt/certificate.ts';
import type { Actor, NodeId } from '../../../crdt/ids.ts';
import { type Ballot, compareBallots, firstCounter } from '../../../crdt/quorum/ballot.ts';
import {
  type AcceptingRound,
  type PreparedRound,
  type PreparingRound,
  planStep,
  prepareRound,
  proposeValue,
  type Round,
  type RoundSettings,
  requestOf,
  resumeRound,
} from '../../../crdt/quorum/proposer.ts';
import { ModelAcceptors } from './model-acceptors.ts';
import { ModelEpochs } from './model-epochs.ts';
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
  operationOf,
  type Reply,
  seenOf,
  withoutOthers,
} from './model-parts.ts';
import { ModelSchedule } from './model-schedule.ts';

const stepsFaulty = 1_500;
const stepsHealedPerRegisterMax = 15_000;

/**
 * Registers, coordinators and clients around the production's pure functions, on a schedule that reorders everything
 * all the time. One seed decides all.
 */
export class QuorumModel {
  readonly #schedule: ModelSchedule;
  readonly #faults: ModelFaults;
  readonly #profile: ModelProfile;
  readonly #nodes = new Map(names.map((id) => [id, new ModelNode(id)]));
  readonly #registers: readonly string[];
  readonly #epochs: ModelEpochs;
  readonly #acceptors: ModelAcceptors;
  readonly history = new ModelHistory((epoch) => this.#coordinators(epoch));
  #restored: NodeId | undefined;
  #step = 0;
  #serial = 0;
  confirmed = 0;
  /** Registers whose first round was begun, and those for which it was enough. */
  begun = 0;
  firsts = 0;
  /** Those of them that came after a carry-over. */
  laterFirsts = 0;

  constructor(seed: string, profile: ModelProfile, faults: ModelFaults = {}) {
    this.#schedule = new ModelSchedule(seed);
    this.#profile = profile;
    this.#faults = faults;
    this.#epochs = new ModelEpochs(seed);
    this.#acceptors = new ModelAcceptors({
      schedule: this.#schedule,
      epochs: this.#epochs,
      faults,
      send: (reply) => this.#sendReply(reply),
    });
    this.#registers = Array.from({ length: profile.registers }, (_, at) => `r${at}`);
  }

  get epoch(): number {
    return this.#epochs.last;
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
    this.#schedule.advance();
  }

  #disturb(): void {
    const node = this.#schedule.pick([...this.#nodes.values()]);
    if (this.#schedule.chance(0.08)) this.#startOperation(node, this.#schedule.pick(this.#registers));
    if (this.#schedule.chance(0.02)) this.#abandon(node);
    if (this.#schedule.chance(this.#profile.crashes)) this.#crash(node);
    if (!node.up && this.#schedule.chance(0.2)) this.#restart(node);
    if (this.#schedule.chance(0.01)) this.#schedule.cut = new Set(names.filter(() => this.#schedule.chance(0.35)));
    if (this.#schedule.chance(0.02)) this.#schedule.cut = new Set();
    if (this.#schedule.chance(0.05)) this.#spread(node);
    if (this.#profile.changesEpochs) this.#disturbEpochs(node);
    if (this.#profile.restoresDisk) this.#disturbDisk(node);
  }

  #heal(): void {
    this.#schedule.isHealed = true;
    this.#schedule.cut = new Set();
    for (const node of this.#nodes.values()) {
      if (!node.up) this.#restart(node);
      node.epoch = this.epoch;
    }
    const until = this.#step + stepsHealedPerRegisterMax * this.#registers.length;
    this.#drain(until);
    for (const node of this.#nodes.values()) this.#askHeard(node);
    this.#drain(until);
    const goal = this.confirmed;
    const voters = this.#coordinators(this.epoch).filter((id) => id !== this.#restored);
    let asked = 0;
    for (const id of voters) {
      for (const register of this.#registers) asked += this.#startOperation(this.#node(id), register);
    }
    this.#drain(until);
    if (this.history.violations.length === 0 && this.confirmed < goal + asked)
      this.history.violations.push('an operation never ended although all is well');
  }

  /** Lets everything come to its end. */
  #drain(until: number): void {
    while (!this.#schedule.isEmpty && this.history.violations.length === 0) {
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
    const again = this.#schedule.chance(0.7) ? node.abandoned.get(register) : undefined;
    node.abandoned.delete(register);
    this.#begin(node, register, register, again ?? `${base}.${this.#serial}`);
    return 1;
  }

  /** The caller's time is over. What was asked is under way all the same, and the same may be proposed again. */
  #abandon(node: ModelNode): void {
    const [operation] = [...node.operations.values()].filter(({ candidate }) => candidate !== null);
    if (operation?.candidate === undefined || operation.candidate === null) return;
    node.operations.delete(operation.slot);
    node.abandoned.set(operation.register, operation.candidate);
  }

  #begin(node: ModelNode, slot: string, register: string, candidate: string | null): void {
    const operation = operationOf({ slot, register, candidate, startedAt: this.#step });
    node.operations.set(slot, operation);
    this.#attempt(node, operation);
  }

  #attempt(node: ModelNode, operation: Operation): void {
    const { register } = operation;
    const cached = node.cache.get(register);
    node.cache.delete(register);
    const usable = cached?.epoch === node.epoch ? cached : undefined;
    operation.usesCache = usable !== undefined;
    const isFirst = usable === undefined && this.#mayBegin(node, operation);
    const settings: RoundSettings = {
      register,
      epoch: node.epoch,
      coordinators: this.#coordinators(node.epoch),
      ballot: usable?.ballot ?? (isFirst ? this.#ballot(node, firstCounter) : this.#nextBallot(node)),
    };
    if (isFirst) this.begun += 1;
    if (usable !== undefined || isFirst) this.#decide(node, operation, resumeRound(settings, usable?.value ?? null));
    else this.#broadcast(node, operation, prepareRound(settings));
  }

  #mayBegin(node: ModelNode, { register, candidate, mayBegin }: Operation): boolean {
    if (!mayBegin || candidate === null || node.book.has(register)) return false;
    if (node.carriedInto !== node.epoch && !this.#faults.firstBeforeCarry) return false;
    return this.#faults.firstByAnybody || this.#epochs.ownerOf(register, node.epoch) === node.id;
  }

  #broadcast(node: ModelNode, operation: Operation, round: PreparingRound | AcceptingRound): void {
    this.#serial += 1;
    const key = `${operation.slot}#${this.#serial}`;
    operation.key = key;
    operation.round = round;
    const request = requestOf(round);
    const { ballot, coordinators } = round.settings;
    const ask = (to: NodeId): void => {
      this.#ask(node, to, { key, register: operation.register, request });
    };
    operation.askOthers = undefined;
    if (ballot.counter !== firstCounter || this.#faults.firstAsksAllAtOnce) {
      coordinators.forEach(ask);
    } else {
      ask(node.id);
      // Itself too, as when its vote comes to stand in another batch.
      const others = coordinators.filter((id) => id !== node.id || this.#schedule.chance(0.2));
      operation.askOthers = () => others.forEach(ask);
    }
    const { life } = node;
    this.#schedule.timeout(() => {
      if (node.up && node.life === life && operation.key === key && node.operations.get(operation.slot) === operation) {
        operation.mayBegin = false;
        this.#attempt(node, operation);
      }
    });
  }

  #takeReply(node: ModelNode, { ask, sequence, epoch, answer }: Reply): void {
    if (epoch > node.epoch && (this.#schedule.isHealed || this.#schedule.chance(0.5))) node.epoch = epoch;
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
    const { askOthers } = operation;
    operation.askOthers = undefined;
    if (askOthers !== undefined && answer.t !== 'accepted') operation.round = withoutOthers(operation.round);
    if (operation.round.phase === before.phase) askOthers?.();
    else this.#afterPhase(node, operation, operation.round);
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
      this.#checkPromises(round);
      if (round.settings.ballot.counter === firstCounter) {
        this.firsts += 1;
        if (round.settings.epoch > 1) this.laterFirsts += 1;
      }
      node.cache.set(operation.register, { epoch: round.settings.epoch, ballot: round.next, value: round.value });
      if (this.#faults.reusesBallots)
        node.usedCache.set(operation.register, { epoch: round.settings.epoch, ballot: round.next, value: round.value });
      const own = operation.candidate === null || round.value.head === operation.candidate;
      if (own) this.#end(node, operation, round.value.position);
      else this.#attempt(node, operation);
    }
  }

  /** Whoever voted in a round that was chosen has promised the next ballot, which will find what was chosen. */
  #checkPromises({ settings, next, certificate }: Extract<Round, { phase: 'chosen' }>): void {
    const { register } = settings;
    for (const [id] of certificate.signatures) {
      const promised = this.#node(id).memory.states.get(register)?.promised ?? null;
      const isKept = promised !== null && compareBallots(promised, next) >= 0;
      if (!isKept && id !== this.#restored) this.history.violations.push(`${register}: ${id} never promised the next`);
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
      // What this node knows to be held it asks nobody about: that is no read.
      const isRead = step.kind !== 'held' || !operation.usesCache;
      this.#end(node, operation, isRead ? (certified?.position ?? 0) : undefined);
    }
  }

  #end(node: ModelNode, operation: Operation, position: number | undefined): void {
    node.operations.delete(operation.slot);
    const { register, startedAt, candidate, slot } = operation;
    if (candidate === null) {
      if (slot.startsWith(`carry ${node.carry?.epoch} `)) this.#carried(node, register);
      return;
    }
    this.confirmed += 1;
    if (position !== undefined) this.history.ended.push({ register, startedAt, endedAt: this.#step, position });
  }

  #nextBallot(node: ModelNode): Ballot {
    node.counter += 1;
    return this.#ballot(node, node.counter);
  }

  #ballot(node: ModelNode, counter: number): Ballot {
    return { counter, proposer: `${node.id}.${this.#faults.reusesBallots ? 1 : node.lifeName}` as Actor };
  }

  #keep(node: ModelNode, certificate: Certificate): void {
    const { register, position } = certificate.statement;
    if ((node.book.get(register)?.statement.position ?? 0) <= position) node.book.set(register, certificate);
  }

  /** A certificate reaches another node, as gossip brings it. */
  #spread(node: ModelNode): void {
    for (const certificate of node.book.values()) {
      const other = this.#schedule.pick([...this.#nodes.values()]);
      this.#schedule.push(() => this.#keep(other, certificate));
    }
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
    // The more there is to begin, the more time each epoch has.
    const isDue = this.#schedule.chance(0.1 / this.#registers.length);
    if (epoch < 7 && this.#epochs.carried === epoch && isDue) {
      const next = this.#epochs.change(this.#schedule);
      this.#node(this.#schedule.pick(next)).epoch = epoch + 1;
    }
    if (node.epoch < epoch && this.#schedule.chance(0.02)) node.epoch += 1;
    if (node.up && node.epoch === epoch && node.carriedInto < epoch && this.#schedule.chance(0.1))
      this.#startCarry(node);
  }

  #startCarry(node: ModelNode): void {
    const { carry, epoch } = { carry: node.carry, epoch: this.epoch };
    if (!this.#isChecked(node) || !this.#coordinators(epoch).includes(node.id)) return;
    const isListing = carry !== undefined && carry.answered.size < majorityOf(this.#coordinators(epoch).length);
    if (carry?.epoch === epoch && !(isListing && this.#schedule.chance(0.2))) return;
    node.carry = { epoch: this.epoch, answered: new Set(), named: new Map(), left: new Set() };
    for (const to of this.#coordinators(this.epoch)) {
      this.#ask(node, to, { key: 'list#0', register: '', request: { t: 'list', epoch: this.epoch } });
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
    if (carry.left.size === 0) this.#isCarried(node, carry.epoch);
    for (const register of carry.left) {
      this.#begin(node, `carry ${carry.epoch} ${register}`, register, null);
    }
  }

  #carried(node: ModelNode, register: string): void {
    const { carry } = node;
    if (carry === undefined) return;
    carry.left.delete(register);
    if (carry.left.size === 0) this.#isCarried(node, carry.epoch);
  }

  #isCarried(node: ModelNode, epoch: number): void {
    node.carriedInto = Math.max(node.carriedInto, epoch);
    this.#epochs.carried = Math.max(this.#epochs.carried, epoch);
  }

  // Disks, crashes and the network.

  /**
   * The older disk is put back only once every node has, on disk, heard a later vote, or voted itself for one who had given a
   * later vote: that is what the watch promises.
   */
  #disturbDisk(node: ModelNode): void {
    if (this.#restored !== undefined || !this.#coordinators(1).includes(node.id)) return;
    if (node.backup === undefined) {
      if (this.#schedule.chance(0.02)) node.backup = node.disk;
      return;
    }
    const { sequence } = node.backup;
    const others = this.#coordinators(1).filter((id) => id !== node.id);
    if (!others.every((id) => seenOf(this.#node(id).disk, node.id, {}) > sequence)) return;
    if (!this.#schedule.chance(0.05)) return;
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
    // That it had carried everything may not have been on disk.
    if (this.#schedule.chance(0.3)) node.carriedInto = Math.max(1, Math.min(node.carriedInto, node.epoch - 1));
  }

  #restart(node: ModelNode): void {
    node.up = true;
    node.life += 1;
    node.lifeName = `${this.#schedule.pick(['a', 'h', 'q', 'z'])}${node.life}`;
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
      this.#ask(node, to, { key: 'heard#0', register: '', request: { t: 'heard', epoch: node.epoch } });
    }
  }

  #isChecked(node: ModelNode): boolean {
    return node.life === 1 || node.checkedBy.size >= majorityOf(this.#coordinators(node.epoch).length) - 1;
  }

  #ask(node: ModelNode, to: NodeId, what: Pick<Ask, 'key' | 'register' | 'request'>): void {
    const seen = seenOf(node.memory, to, this.#faults);
    const ask: Ask = { ...what, from: node.id, to, seen, own: node.disk.sequence };
    this.#schedule.send(node, this.#node(to), (each) => this.#acceptors.take(each, ask));
  }

  #sendReply(reply: Reply): void {
    const { from, to } = reply.ask;
    this.#schedule.send(this.#node(to), this.#node(from), (node) => this.#takeReply(node, reply));
  }

  /** Tries again after a while that doubles with every failure, on the average. */
  #retry(node: ModelNode, operation: Operation): void {
    operation.failures += 1;
    operation.mayBegin = false;
    const wait = (): void => {
      if (node.operations.get(operation.slot) !== operation) return;
      if (this.#schedule.chance(1 / 2 ** Math.min(operation.failures, 6))) this.#attempt(node, operation);
      else this.#schedule.onNode(node, wait);
    };
    this.#schedule.onNode(node, wait);
  }

  // Small things.

  #coordinators(epoch: number): readonly NodeId[] {
    return this.#epochs.coordinators(epoch);
  }

  #node(id: NodeId): ModelNode {
    return this.#nodes.get(id) as ModelNode;
  }
}
