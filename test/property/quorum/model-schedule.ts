import type { NodeId } from '../../../crdt/ids.ts';
import { SeededRandom } from '../../../src/adapters/memory/random.ts';
import type { ModelNode } from './model-parts.ts';

/**
 * Whatever is under way lies in one pool, and each step takes out any of it. Messages are lost and repeated, cut off, and
 * go down with their sender, until all is healed.
 */
export class ModelSchedule {
  readonly #random: SeededRandom;
  readonly #pool: (() => void)[] = [];
  readonly #timeouts: (() => void)[] = [];
  /** Those on the other side. */
  cut = new Set<NodeId>();
  isHealed = false;

  constructor(seed: string) {
    this.#random = new SeededRandom(seed);
  }

  get isEmpty(): boolean {
    return this.#pool.length + this.#timeouts.length === 0;
  }

  advance(): void {
    const timeoutsDue = this.#pool.length === 0 || (!this.isHealed && this.chance(0.03));
    this.#drawFrom(timeoutsDue && this.#timeouts.length > 0 ? this.#timeouts : this.#pool)?.();
  }

  push(task: () => void): void {
    this.#pool.push(task);
  }

  /** Something that comes when nothing else does, or too early. */
  timeout(task: () => void): void {
    this.#timeouts.push(task);
  }

  /** Something the node does next, unless it crashes before. */
  onNode(node: ModelNode, task: () => void): void {
    const { life } = node;
    this.push(() => {
      if (node.up && node.life === life) task();
    });
  }

  send(sender: ModelNode, receiver: ModelNode, arrive: (node: ModelNode) => void): void {
    const copies = this.isHealed || sender === receiver ? 1 : this.chance(0.05) ? 0 : this.chance(0.05) ? 2 : 1;
    const { life } = sender;
    for (let copy = 0; copy < copies; copy += 1) {
      this.push(() => {
        // Part of what a node had sent goes down with it.
        if ((!sender.up || sender.life !== life) && this.chance(0.7)) return;
        if (receiver.up && this.cut.has(sender.id) === this.cut.has(receiver.id)) arrive(receiver);
      });
    }
  }

  pick<T>(items: readonly T[]): T {
    return items[Math.floor(this.#random.fraction() * items.length)] as T;
  }

  chance(probability: number): boolean {
    return this.#random.fraction() < probability;
  }

  #drawFrom(events: (() => void)[]): (() => void) | undefined {
    if (events.length === 0) return undefined;
    const at = Math.floor(this.#random.fraction() * events.length);
    const event = events[at];
    events[at] = events[events.length - 1] as () => void;
    events.pop();
    return event;
  }
}
