import type { SeededRandom } from '../../src/adapters/memory/random.ts';

/** Draws from one named stream of a run's randomness. */
export class Draw {
  readonly random: SeededRandom;

  constructor(random: SeededRandom) {
    this.random = random;
  }

  chance(share: number): boolean {
    return this.random.fraction() < share;
  }

  between(min: number, max: number): number {
    return min + this.random.fraction() * (max - min);
  }

  /** An integer from `min` to `max`, both included. */
  integer(min: number, max: number): number {
    return Math.floor(this.between(min, max + 1));
  }

  pick<T>(values: readonly [T, ...T[]] | readonly T[]): T {
    const picked = values[this.integer(0, values.length - 1)];
    if (picked === undefined) throw new Error('there is nothing to pick from');
    return picked;
  }

  /** One of the names, each as likely as its weight says. */
  weighted<Name extends string>(weights: Readonly<Partial<Record<Name, number>>>): Name {
    const entries = Object.entries(weights) as [Name, number][];
    let left = this.random.fraction() * entries.reduce((sum, [, weight]) => sum + weight, 0);
    for (const [name, weight] of entries) {
      left -= weight;
      if (left < 0) return name;
    }
    return (entries.at(-1) as [Name, number])[0];
  }

  /** Some of the values, each in or out by a coin, but at least one and not all of them. */
  part<T>(values: readonly T[]): T[] {
    const chosen = values.filter(() => this.chance(0.5));
    if (chosen.length === 0) return [this.pick(values)];
    return chosen.length === values.length ? chosen.slice(1) : chosen;
  }

  shuffled<T>(values: readonly T[]): T[] {
    const rest = [...values];
    return values.map(() => rest.splice(this.integer(0, rest.length - 1), 1)[0] as T);
  }
}
