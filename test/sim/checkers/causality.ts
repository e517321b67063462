import { contextHas, contextSize } from '../../../crdt/causality.ts';
import type { Dot, VersionId } from '../../../crdt/ids.ts';
import type { KnownVersion } from '../version-library.ts';
import type { CheckerFactory, Violate, World } from './checker.ts';

/** Invariant 3: the graph is the authority and dots are its exact index, recomputed here from nothing but parents. */
export const causality: CheckerFactory = {
  name: 'causality',
  create: (world) => ({
    learned: (known, violate) => {
      const parents = known.version.record.parents.map((id) => world.library.get(id));
      const held = parents.filter((parent) => parent !== undefined);
      if (held.length < parents.length) violate(`version ${known.version.id} was stored before its parents`);
      else checkLinks(known, held, violate);
      checkContext(known, world, violate);
    },
  }),
};

function checkLinks({ version, doc }: KnownVersion, parents: readonly KnownVersion[], violate: Violate): void {
  const { id, record } = version;
  const generation = 1 + Math.max(0, ...parents.map((parent) => parent.version.record.generation));
  if (record.generation !== generation) violate(`version ${id} has generation ${record.generation}, not ${generation}`);
  if (parents.some((parent) => parent.doc !== doc)) violate(`version ${id} has a parent of another object`);
  for (const elder of parents) {
    if (parents.some((parent) => parent.ancestors.has(elder.version.id))) {
      violate(`version ${id} names ${elder.version.id} as a parent beside a descendant of it`);
    }
  }
  if ((record.kind === 'merge') !== parents.length > 1 && record.kind !== 'delete') {
    violate(`version ${id} is a ${record.kind} with ${parents.length} parents`);
  }
}

function checkContext({ version, ancestors }: KnownVersion, world: World, violate: Violate): void {
  const dots = new Map<string, Dot>();
  for (const id of ancestors) {
    const dot = dotOf(world, id);
    if (dot !== undefined) dots.set(`${dot.actor} ${dot.counter}`, dot);
  }
  const { dot } = version.record;
  if (contextSize(version.context) !== dots.size) {
    violate(`the context of ${version.id} has ${contextSize(version.context)} dots, its ancestors ${dots.size}`);
  }
  for (const ancestor of dots.values()) {
    if (!contextHas(version.context, ancestor)) violate(`the context of ${version.id} lacks a dot of an ancestor`);
    if (ancestor.actor === dot.actor && ancestor.counter >= dot.counter) {
      violate(`the dot of ${version.id} does not come after all of its actor's in its context`);
    }
  }
}

function dotOf(world: World, id: VersionId): Dot | undefined {
  return world.library.get(id)?.version.record.dot;
}
