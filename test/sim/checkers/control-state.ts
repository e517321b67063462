import { isDeepStrictEqual } from 'node:util';
import type { ControlState } from '../../../crdt/control/state.ts';
import { encodeState } from '../../../crdt/control/state-text.ts';
import { treeRoot } from '../../../crdt/control-log.ts';
import { ControlStore } from '../../../src/control/control-store.ts';
import type { Node } from '../../../src/node/mesh-node.ts';
import type { ChangeAnswer } from '../ledger.ts';
import type { Machine } from '../machine.ts';
import type { Violate } from './checker.ts';
import type { ControlHistory } from './control-history.ts';

/** What a node shows, and what its disk would come to after a restart, is what the log up to its end comes to. */
export async function checkState(
  { name, process, kv }: Machine,
  expected: { readonly history: ControlHistory; readonly state: ControlState; readonly genesisText: string },
  violate: Violate,
): Promise<void> {
  const { history, state } = expected;
  // A log that is there is only read.
  const stored = (await ControlStore.open(kv, expected.genesisText)).state();
  if (encodeState(stored) !== encodeState(state)) violate(`${name} would come to another state of the cluster`);
  for (let seq = 1; seq <= state.seq; seq += 1) {
    for (const { id } of history.entry(seq)?.entry.entry.operations ?? []) {
      if (stored.operations.get(id) !== seq) violate(`${name} does not know operation ${id} of entry ${seq}`);
    }
  }
  if (process === undefined) return;
  const shown = shownBy(process.node);
  for (const [part, value] of Object.entries(comingTo(state))) {
    if (!isDeepStrictEqual(shown[part as keyof typeof shown], value))
      violate(`${name} shows another ${part} than the control log comes to`);
  }
}

/** What administrators were told is so: nothing else than what was committed has an entry, and it is the one they were told of. */
export function checkAnswers(answers: readonly ChangeAnswer[], history: ControlHistory, violate: Violate): void {
  for (const { through, operationId, committed, refused } of answers) {
    const seq = history.state.operations.get(operationId);
    if (refused !== undefined && seq !== undefined)
      violate(`operation ${operationId} was refused through ${through} (${refused}), and is in entry ${seq}`);
    if (committed === undefined) continue;
    const entry = history.entry(committed.seq)?.entry;
    if (seq !== committed.seq || entry?.hash !== committed.hash)
      violate(
        `operation ${operationId} was committed as entry ${committed.seq} through ${through}, and is in entry ${seq}`,
      );
  }
}

function shownBy(node: Node) {
  const { cluster } = node;
  const { size, root } = cluster.checkpoint();
  const members = node.nodes().map(({ nodeId, name, peerId, roles, labels, capacity, draining }) => ({
    ...{ nodeId, name, peerId, roles, labels, capacity, draining },
  }));
  return {
    size,
    root,
    members: byNode(members),
    namespaces: cluster.namespaces().map(({ ns, policy }) => ({ ns, policy })),
    configuration: cluster.configuration(),
  };
}

/** The same of a state. */
function comingTo(state: ControlState): ReturnType<typeof shownBy> {
  const members = [...state.members.values()].map(({ capacity = null, draining = false, ...member }) => ({
    ...member,
    ...{ capacity, draining },
  }));
  return {
    size: state.seq + 1,
    root: treeRoot(state),
    members: byNode(members.map(({ addresses: _told, ...member }) => member)),
    namespaces: [...state.namespaces].sort(byName).map(([ns, policy]) => ({ ns, policy })),
    configuration: [...state.configuration].sort(byName).map(([scope, values]) => ({ scope, values })),
  };
}

function byNode<Each extends { readonly nodeId: string }>(members: readonly Each[]): Each[] {
  return members.toSorted((a, b) => (a.nodeId < b.nodeId ? -1 : 1));
}

function byName([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number {
  return a < b ? -1 : 1;
}
