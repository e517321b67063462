import type { NodeId, VersionId } from '../../../crdt/ids.ts';
import type { Machine, Process } from '../machine.ts';
import type { KnownVersion } from '../version-library.ts';
import type { CheckerFactory, Violate, World } from './checker.ts';

/** Longer than a slow disk flushes and a node stands still: what was stored so long ago was told of. */
const reportMsMax = 30_000;

/**
 * Invariant 4: no dot is issued twice by a node that could have known better. Where nothing could tell it that its
 * disk went back in time, and where a member lies, a dot may come twice; then it must be noticed and reported. A node that
 * is handed a version of its own, which its disk has lost, has been told: it writes under another name from then on.
 */
export const uniqueDots: CheckerFactory = {
  name: 'unique-dots',
  create: (world) => {
    const issued = new Map<string, VersionId>();
    const names = new AbandonedNames();
    const reports = new ReuseReports(world);
    return {
      learned: (known, violate) => {
        names.learned(known);
        const { version, doc } = known;
        const { dot, node } = version.record;
        const name = `${doc} ${dot.actor} ${dot.counter}`;
        const first = issued.get(name);
        if (first === undefined) issued.set(name, version.id);
        else if (mayRepeat(world, node)) reports.came(first, version.id);
        else violate(`dot ${dot.counter} of ${dot.actor} was issued twice: ${first} and ${version.id}`);
      },
      committed: ({ machine, added }, violate) => {
        names.committed(machine, added, violate);
        for (const { version } of added) reports.stored(machine, version.id);
      },
      ended: (machine, violate) => reports.ended(machine, violate),
      quiet: (violate) => {
        for (const machine of world.machines.values()) reports.check(machine, violate);
      },
    };
  },
};

/** Which processes have both versions of a dot that came twice, and so are to have told of it. */
class ReuseReports {
  readonly #world: World;
  readonly #doubles: (readonly [VersionId, VersionId])[] = [];
  /** When a process came to hold both of some dot, for the first time. */
  readonly #owing = new WeakMap<Process, number>();

  constructor(world: World) {
    this.#world = world;
  }

  came(first: VersionId, second: VersionId): void {
    this.#doubles.push([first, second]);
  }

  stored({ process, holdings }: Machine, id: VersionId): void {
    if (process === undefined || this.#owing.has(process)) return;
    const isDouble = this.#doubles.some((pair) => pair.includes(id) && pair.every((each) => holdings.has(each)));
    if (isDouble) this.#owing.set(process, this.#world.nowMs());
  }

  /** A process whose power was cut may not have come to tell. */
  ended(machine: Machine, violate: Violate): void {
    const sinceMs = machine.process && this.#owing.get(machine.process);
    if (sinceMs !== undefined && this.#world.nowMs() - sinceMs > reportMsMax) this.check(machine, violate);
  }

  check({ name, process }: Machine, violate: Violate): void {
    if (process === undefined || !this.#owing.has(process)) return;
    if (process.metrics.value('anabranch_dots_reused_total') > 0) return;
    violate(`${name} did not report that a dot came twice`);
  }
}

/** Under which names a node may not write any more, since others had versions of that name that it had not. */
class AbandonedNames {
  /** By machine, disk and actor: put back once more, a disk has to be told again. */
  readonly #names = new Set<string>();
  /** Versions of the present transaction that no node had before: its own node wrote them. */
  readonly #written = new Set<VersionId>();

  learned({ version }: KnownVersion): void {
    this.#written.add(version.id);
  }

  committed(machine: Machine, added: readonly KnownVersion[], violate: Violate): void {
    for (const { version } of added) {
      const { dot, node } = version.record;
      if (node !== machine.member.nodeId) continue;
      const name = `${machine.name} ${machine.disksBefore} ${dot.actor}`;
      if (!this.#written.has(version.id)) this.#names.add(name);
      else if (this.#names.has(name))
        violate(
          `${machine.name} wrote ${version.id} as ${dot.actor}, though others had versions of it that it had lost`,
        );
    }
    this.#written.clear();
  }
}

function mayRepeat(world: World, node: NodeId): boolean {
  if (world.hostile.has(node)) return true;
  return [...world.machines.values()].some((machine) => machine.member.nodeId === node && machine.rolledBackUnnoticed);
}
