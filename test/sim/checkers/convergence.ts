import type { DocId } from '../../../crdt/ids.ts';
import type { ConflictPage, Listing, ObjectGraph, Outcome } from '../../../src/node/api.ts';
import type { Machine } from '../machine.ts';
import type { CheckerFactory, World } from './checker.ts';
import { greatest } from './heads.ts';

/**
 * Invariant 2, over all nodes: the same graph, heads and preferred head on each that holds the object's slot, and the
 * same listing and conflicts on each that holds all, through the same calls a client makes; and they are what the union
 * of all versions says.
 */
export const convergence: CheckerFactory = {
  name: 'convergence',
  create: (world) => ({
    quiet: (violate) => {
      const seen = new Map<string, { readonly machine: Machine; readonly text: string }>();
      for (const machine of world.machines.values()) {
        for (const [what, text] of faceOf(machine, world)) {
          const first = seen.get(what) ?? { machine, text };
          seen.set(what, first);
          if (first.text === text) continue;
          violate(`${first.machine.name} and ${machine.name} differ on ${what}: ${first.text} and ${text}`);
          return;
        }
        checkAgainstHoldings(machine, world, violate);
      }
    },
  }),
};

/** Everything a client could ask a node that it can answer by itself, by what it is about. */
function faceOf(machine: Machine, world: World): Map<string, string> {
  const face = new Map<string, string>();
  const node = machine.process?.node;
  if (node === undefined) return face;
  const objects = objectsOf(world);
  for (const { doc, ns, key } of objects) {
    if (!world.holdersOf(doc).includes(machine)) continue;
    face.set(`the graph of ${ns}/${key}`, JSON.stringify(outcomeOf<ObjectGraph>(node.graph({ ns, key }))));
  }
  for (const ns of new Set(objects.map((object) => object.ns))) {
    const listing = node.list({ ns });
    // A node that holds a part of the slots would have to ask the others.
    if (world.isPlaced && !listing.ok) continue;
    face.set(`the listing of ${ns}`, JSON.stringify(outcomeOf<Listing>(listing)));
    face.set(`the conflicts in ${ns}`, JSON.stringify(outcomeOf<ConflictPage>(node.conflicts({ ns }))));
  }
  return face;
}

/** Every object of which any node has a version. */
function objectsOf(world: World): { doc: DocId; ns: string; key: string }[] {
  const objects = new Map<string, { doc: DocId; ns: string; key: string }>();
  for (const machine of world.machines.values()) {
    for (const id of machine.holdings.ids()) {
      const known = world.library.get(id);
      if (known === undefined) continue;
      const { ns, key } = known.version.record;
      objects.set(`${ns}/${key}`, { doc: known.doc, ns, key });
    }
  }
  return [...objects.values()].sort((a, b) => (`${a.ns}/${a.key}` < `${b.ns}/${b.key}` ? -1 : 1));
}

function checkAgainstHoldings(machine: Machine, world: World, violate: (message: string) => void): void {
  for (const doc of machine.holdings.docs()) {
    if (!world.holdersOf(doc).includes(machine)) continue;
    const ids = [...machine.holdings.versionsOf(doc)];
    const record = ids[0] === undefined ? undefined : world.library.get(ids[0])?.version.record;
    if (record === undefined) continue;
    const { ns, key } = record;
    const graph = machine.process?.node.graph({ ns, key });
    const heads = machine.holdings.headsOf(doc);
    if (!graph?.ok || graph.value.heads.join() !== heads.join() || graph.value.versions.length !== ids.length) {
      violate(`${machine.name} does not show the ${ids.length} versions and ${heads.length} heads of ${ns}/${key}`);
    } else if (graph.value.preferred !== (graph.value.confirmedHead ?? greatest(heads, world.library))) {
      violate(`${machine.name} prefers ${graph.value.preferred} of ${ns}/${key}`);
    }
  }
}

function outcomeOf<T>(outcome: Outcome<T>): unknown {
  return outcome.ok ? outcome.value : outcome.error.code;
}
