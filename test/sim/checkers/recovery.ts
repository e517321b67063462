import type { DocId, VersionId } from '../../../crdt/ids.ts';
import { metaKey, objectKey, versionKey } from '../../../src/node/storage-keys.ts';
import { Holdings, rowsOf, versionIdOf } from '../holdings.ts';
import type { Machine } from '../machine.ts';
import { parsedRow } from '../parsed-rows.ts';
import type { CheckerFactory, Violate, World } from './checker.ts';

/**
 * Invariant 11: whatever moment a process ended at, its store is of one piece. Every version has its parents and
 * its place among its object's heads, and the counts are right.
 */
export const recovery: CheckerFactory = {
  name: 'recovery',
  create: (world) => ({
    ended: (machine, violate) => checkStore(machine, world, violate),
    quiet: (violate) => {
      for (const machine of world.machines.values()) checkStore(machine, world, violate);
    },
  }),
};

function checkStore(machine: Machine, world: World, violate: Violate): void {
  const holdings = holdingsOnDisk(machine, world);
  for (const id of holdings.ids()) {
    for (const parent of world.library.get(id)?.version.record.parents ?? []) {
      if (!holdings.has(parent)) violate(`${machine.name} holds version ${id} without its parent ${parent}`);
    }
  }
  let conflicts = 0;
  let objects = 0;
  for (const doc of holdings.docs()) {
    objects += 1;
    if (holdings.headsOf(doc).length > 1) conflicts += 1;
    checkObject(machine, doc, holdings, violate);
  }
  const counts = readCounts(machine);
  const expected = { objects, versions: holdings.size, conflicts };
  for (const name of ['objects', 'versions', 'conflicts'] as const) {
    if (counts[name] !== expected[name])
      violate(`${machine.name} counts ${counts[name]} ${name}, not ${expected[name]}`);
  }
}

function checkObject(machine: Machine, doc: DocId, holdings: Holdings, violate: Violate): void {
  const heads = parsedRow<{ heads: { id: VersionId }[] }>(machine.kv, objectKey(doc))?.heads ?? [];
  if (heads.map((head) => head.id).join() !== holdings.headsOf(doc).join()) {
    violate(`${machine.name} has other heads of object ${doc} on disk than its versions say`);
  }
}

function readCounts(machine: Machine): Partial<Record<'objects' | 'versions' | 'conflicts', number>> {
  return parsedRow(machine.kv, metaKey('counts')) ?? { objects: 0, versions: 0, conflicts: 0 };
}

/** What a store holds, by the names of its rows: their texts may be rotten. */
export function holdingsOnDisk(machine: Machine, world: Pick<World, 'library'>): Holdings {
  const holdings = new Holdings();
  const room = versionKey('a'.repeat(52) as VersionId)[0] as number;
  for (const [key] of rowsOf(machine.kv, room)) {
    const known = world.library.get(versionIdOf(key));
    if (known !== undefined) holdings.add(known);
  }
  return holdings;
}
