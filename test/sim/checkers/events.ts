import type { MeshEvent } from '../../../src/node/api.ts';
import { eventKey } from '../../../src/node/storage-keys.ts';
import { rowsOf } from '../holdings.ts';
import type { Machine } from '../machine.ts';
import { parsedText } from '../parsed-rows.ts';
import type { CheckerFactory, Violate } from './checker.ts';

const eventRoom = eventKey(1)[0] as number;

/**
 * What a node tells of is what happened to it: each version it holds was told of once, however
 * often it was heard of, and conflicts only where heads were two or more.
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
  for (const [, row] of rowsOf(machine.kv, eventRoom)) {
    const event = parsedText<Pick<MeshEvent, 'type'> & { data: EventData }>(row);
    if (event.type === 'conflict' && event.data.heads.length < 2)
      violate(`${machine.name} told of a conflict of one head`);
    if (event.type !== 'version') continue;
    if (told.has(event.data.version)) violate(`${machine.name} told of version ${event.data.version} twice`);
    told.add(event.data.version);
  }
  for (const id of machine.holdings.ids()) {
    if (!told.has(id)) violate(`${machine.name} holds version ${id} and never told of it`);
  }
}

interface EventData {
  readonly version: string;
  readonly heads: readonly string[];
}
