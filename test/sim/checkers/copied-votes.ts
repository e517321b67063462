import type { Machine } from '../machine.ts';
import { voterRowOf } from './acceptor-rows.ts';
import type { World } from './checker.ts';

const known = new WeakMap<World, CopiedVotes>();

/**
 * Disks that came with the votes of another directory: whoever runs on one does not know what was voted after the copy was
 * taken, and must not vote. It is seen before a process runs on them, whatever that makes of the row that tells.
 */
export class CopiedVotes {
  readonly #world: World;
  /** By `Kv.identity()`. */
  readonly #disks = new Set<string>();

  private constructor(world: World) {
    this.#world = world;
  }

  /** The one list of a run, which all its checkers share. */
  static of(world: World): CopiedVotes {
    const votes = known.get(world) ?? new CopiedVotes(world);
    known.set(world, votes);
    return votes;
  }

  /** Looks at all disks. Called when one of them may have been exchanged. */
  look(): void {
    for (const { kv } of this.#world.machines.values()) {
      const voter = voterRowOf(kv);
      if (voter !== undefined && voter.identity !== kv.identity()) this.#disks.add(kv.identity());
    }
  }

  areOn({ kv }: Machine): boolean {
    return this.#disks.has(kv.identity());
  }
}
