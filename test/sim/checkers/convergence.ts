import type { ConflictPage, Listing, ObjectGraph, Outcome } from '../../../src/node/api.ts';
import type { Machine } from '../machine.ts';
import type { CheckerFactory, World } from './checker.ts';
import { greatest } from './heads.ts';

/**
 * Invariant 2, over all nodes: the same graph, heads, preferred head, listing and conflicts on each, through the same
 * calls a client makes, and they are what the union of all versions says.
 */
export const convergence: CheckerFactory = {
  name: 'convergence',
  create: (world) => ({
    quiet: (violate) => {
      const [first, ...others] = [...world.machines.values()];
      if (first === undefined) return;
      const expected = faceOf(first, world);
      for (const machine of others) {
        const found = faceOf(machine, world);
        for (const [what, text] of expected) {
          if (found.get(what) === text) continue;
          violate(`${first.name} and ${machine.name} differ on ${what}: ${text} and ${found.get(what)}`);
          return;
        }
      }
      checkAgainstHoldings(first, world, violate);
    },
  }),
};

/** Everything a client could ask a node about its objects, by what it is about. */
function faceOf(machine: Machine, world: World): Map<string, string> {
  const face = new Map<string, string>();
  const node = machine.process?.node;
  if (node === undefined) return face;
  for (const { ns, key } of objectsOf(machine, world)) {
    face.set(`the graph of ${ns}/${key}`, JSON.stringify(outcomeOf<ObjectGraph>(node.graph({ ns, key }))));
  }
  for (const ns of new Set(objectsOf(machine, world).map((object) => object.ns))) {
    face.set(`the listing of ${ns}`, JSON.stringify(outcomeOf<Listing>(node.list({ ns }))));
    face.set(`the conflicts in ${ns}`, JSON.stringify(outcomeOf<ConflictPage>(node.conflicts({ ns }))));
  }
  return face;
}

function objectsOf(machine: Machine, world: World): { ns: string; key: string }[] {
  const objects = new Map<string, { ns: string; key: string }>();
  for (const id of machine.holdings.ids()) {
    const record = world.library.get(id)?.version.record;
    if (record !== undefined) objects.set(`${record.ns}/${record.key}`, { ns: record.ns, key: record.key });
  }
  return [...objects.values()].sort((a, b) => (`${a.ns}/${a.key}` < `${b.ns}/${b.key}` ? -1 : 1));
}

function checkAgainstHoldings(machine: Machine, world: World, violate: (message: string) => void): void {
  for (const doc of machine.holdings.docs()) {
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
