import type { MeshEvent } from '../../../src/node/api.ts';
import { eventKey } from '../../../src/node/storage-keys.ts';
import { rowsOf } from '../holdings.ts';
import type { Machine } from '../machine.ts';
import { parsedText } from '../parsed-rows.ts';
import type { CheckerFactory, Violate } from './checker.ts';

const eventRoom = eventKey(1)[0] as number;

/**
 * What a node tells of is what happened to it: each version it holds was told of once, however often it was heard of, and
 * each conflict once, when the heads of an object had become more.
 */
export const events: CheckerFactory = {
  name: 'events',
  create: ({ machines }) => ({
    ended: checkEvents,
    quiet: (violate) => {
      for (const machine of machines.values()) checkEvents(machine, violate);
    },
  }),
};

function checkEvents(machine: Machine, violate: Violate): void {
  const told = new Set<string>();
  const objects = new Map<string, ObjectHeads>();
  for (const event of eventsOf(machine)) {
    if (event.type === 'conflict') checkConflict(machine, event.data, objects, violate);
    if (event.type !== 'version') continue;
    if (told.has(event.data.version)) violate(`${machine.name} told of version ${event.data.version} twice`);
    told.add(event.data.version);
    objects.set(nameOf(event.data), headsAfter(event.data, objects.get(nameOf(event.data))));
  }
  for (const id of machine.holdings.ids()) {
    if (!told.has(id)) violate(`${machine.name} holds version ${id} and never told of it`);
  }
  for (const [name, { isDue }] of objects) {
    if (isDue) violate(`${machine.name} never told of the conflict of ${name}`);
  }
}

function* eventsOf({ kv }: Machine): Generator<Pick<MeshEvent, 'type'> & { data: EventData }> {
  for (const [, row] of rowsOf(kv, eventRoom))
    yield* parsedText<(Pick<MeshEvent, 'type'> & { data: EventData })[]>(row);
}

/** The heads of an object as events tell of them. */
interface ObjectHeads {
  readonly heads: readonly string[];
  /** They became more, and are two or more since: that is a conflict, which is to be told of with the last of its versions. */
  readonly isDue: boolean;
}

function headsAfter({ heads }: EventData, before: ObjectHeads | undefined): ObjectHeads {
  const isRaised = heads.length > (before?.heads.length ?? 0);
  return { heads, isDue: heads.length > 1 && (isRaised || before?.isDue === true) };
}

function checkConflict(machine: Machine, data: EventData, objects: Map<string, ObjectHeads>, violate: Violate): void {
  const name = nameOf(data);
  const { heads, isDue } = objects.get(name) ?? { heads: [], isDue: false };
  if (!isDue) violate(`${machine.name} told of a conflict of ${name} that is over, or that it had told of`);
  if (heads.join() !== data.heads.join()) violate(`${machine.name} told of other heads of ${name} than it had`);
  objects.set(name, { heads, isDue: false });
}

function nameOf({ ns, key }: EventData): string {
  return `${ns}/${key}`;
}

interface EventData {
  readonly ns: string;
  readonly key: string;
  readonly version: string;
  readonly heads: readonly string[];
}
