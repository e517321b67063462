import type { NodeId } from '../../../crdt/ids.ts';
import { stickyOrder } from '../../../protocols/quorum/sticky-order.ts';
import { names } from './model-parts.ts';
import type { ModelSchedule } from './model-schedule.ts';

/** Who votes in each epoch: three in the first, then one more or one fewer each time. */
export class ModelEpochs {
  readonly #seed: string;
  readonly #sets: (readonly NodeId[])[] = [[], ['a', 'b', 'c'] as NodeId[]];
  readonly #owners = new Map<string, NodeId>();
  /** The newest epoch into which everything that was chosen before has been carried. */
  carried = 1;

  constructor(seed: string) {
    this.#seed = seed;
  }

  get last(): number {
    return this.#sets.length - 1;
  }

  coordinators(epoch: number): readonly NodeId[] {
    return this.#sets[epoch] ?? [];
  }

  /** The coordinator that may begin a register's first round in an epoch. */
  ownerOf(register: string, epoch: number): NodeId | undefined {
    const place = `${epoch} ${register}`;
    const known = this.#owners.get(place);
    if (known !== undefined) return known;
    const [owner] = stickyOrder(
      `${this.#seed} ${register}`,
      this.coordinators(epoch).map((nodeId) => ({ nodeId })),
    );
    if (owner !== undefined) this.#owners.set(place, owner.nodeId);
    return owner?.nodeId;
  }

  /** Begins the next epoch, whose coordinators it returns. */
  change(schedule: ModelSchedule): readonly NodeId[] {
    const before = this.coordinators(this.last);
    const others = names.filter((id) => !before.includes(id));
    const grows = before.length <= 2 || (before.length < 4 && schedule.chance(0.5));
    const leaver = grows ? undefined : schedule.pick(before);
    const next = grows ? [...before, schedule.pick(others)].sort() : before.filter((id) => id !== leaver);
    this.#sets.push(next);
    return next;
  }
}
