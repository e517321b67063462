import type { ModelEpochs } from './model-epochs.ts';
import { type Ask, type ModelFaults, type ModelNode, type Reply, voteOf } from './model-parts.ts';
import type { ModelSchedule } from './model-schedule.ts';

/** How often an acceptor signs everything it was asked with one signature. */
const batchShare = 0.95;

interface Dependencies {
  readonly schedule: ModelSchedule;
  readonly epochs: ModelEpochs;
  readonly faults: ModelFaults;
  readonly send: (reply: Reply) => void;
}

/** The voting side of every node: votes in memory, flushes, and only then answers. */
export class ModelAcceptors {
  readonly #dependencies: Dependencies;

  constructor(dependencies: Dependencies) {
    this.#dependencies = dependencies;
  }

  take(node: ModelNode, ask: Ask): void {
    const { schedule, epochs, faults } = this.#dependencies;
    const asked = ask.request.epoch;
    if (asked > node.epoch && (schedule.isHealed || schedule.chance(0.5))) node.epoch = asked;
    let { memory } = node;
    if (node.epoch > memory.epoch) memory = { ...memory, epoch: node.epoch };
    if (ask.seen > memory.sequence && !faults.ignoresSequence) memory = { ...memory, restored: true };
    const votes = !memory.restored && epochs.coordinators(memory.epoch).includes(node.id);
    if (!votes && !(faults.ignoresEpochs && epochs.coordinators(asked).includes(node.id))) {
      node.memory = memory;
      this.#answerLater(node, { ask, sequence: Number.MAX_SAFE_INTEGER, epoch: memory.epoch, answer: { t: 'lost' } });
      return;
    }
    memory = { ...memory, sequence: memory.sequence + 1 };
    const told = Math.max(memory.told.get(ask.from) ?? 0, ask.own);
    if (ask.from !== node.id) memory = { ...memory, told: new Map(memory.told).set(ask.from, told) };
    const { states, answer } = voteOf(memory, ask, node.id, { faults, inBatch: schedule.chance(batchShare) });
    node.memory = { ...memory, states };
    // Who checks no epoch tells of none.
    const epoch = faults.ignoresEpochs ? asked : memory.epoch;
    this.#answerLater(node, { ask, sequence: memory.sequence, epoch, answer });
  }

  /** Write, flush, send: a crash can come between any two of them. */
  #answerLater(node: ModelNode, reply: Reply): void {
    const { schedule, faults, send } = this.#dependencies;
    if (faults.answersBeforeFlush) send(reply);
    else node.waiting.push(reply);
    schedule.onNode(node, () => {
      node.disk = node.memory;
      node.outbox.push(...node.waiting.splice(0));
      schedule.onNode(node, () => {
        for (const each of node.outbox.splice(0)) send(each);
      });
    });
  }
}
