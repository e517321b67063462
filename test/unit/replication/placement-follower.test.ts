import { afterEach, beforeEach, expect, test } from 'vitest';
import type { NodeId } from '../../../crdt/ids.ts';
import type { Order } from '../../../protocols/replicas/server.ts';
import { VirtualClock } from '../../../src/adapters/memory/clock.ts';
import { MemoryKv } from '../../../src/adapters/memory/kv.ts';
import { MemoryLog } from '../../../src/adapters/memory/log.ts';
import { PlacementDirectory } from '../../../src/replication/placement-directory.ts';
import { PlacementFollower } from '../../../src/replication/placement-follower.ts';
import type { Subject } from '../../../src/replication/subject.ts';

const patienceMs = 600_000;
const nodes = ['a', 'b', 'c', 'd'].map((name) => ({ nodeId: name as NodeId, weight: 1, labels: {} }));

let clock: VirtualClock;
let kv: MemoryKv;
let log: MemoryLog;
/** The policies of each state of the control log, by the number of its entry. */
let states: {
  readonly seq: number;
  readonly members: ReadonlyMap<string, unknown>;
  readonly namespaces: Map<string, object>;
}[];
/** What the walk goes over, a page each, and what it wanted of it. */
let pages: Subject[][];
let wanted: string[];
let isDiskSound: boolean;
let changes: number;
let follower: PlacementFollower;

beforeEach(() => {
  clock = new VirtualClock();
  kv = new MemoryKv(clock, { flushDelayMs: 1 });
  log = new MemoryLog();
  states = [];
  pages = [['docs/a', 'files/b'], ['docs/c']].map((page) => page.map(subjectOf));
  wanted = [];
  isDiskSound = true;
  changes = 0;
  decide({ docs: { replicas: 1 }, files: { replicas: 1 } });
});
afterEach(() => clock.run(follower.stop(), patienceMs));

function subjectOf(name: string): Subject {
  const [ns = '', key = ''] = name.split('/');
  return { doc: name, ns, key, version: name, manifest: name, sizeBytes: 1 } as unknown as Subject;
}

function decide(policies: Readonly<Record<string, object>>): void {
  states.push({ seq: states.length, members: new Map(), namespaces: new Map(Object.entries(policies)) });
}

async function start(): Promise<void> {
  const state = () => states.at(-1) as never;
  follower = new PlacementFollower({
    kv,
    clock,
    log,
    subjects: {
      catchUp: async () => undefined,
      walk: async function* () {
        for (const page of pages) {
          await clock.sleep(1_000);
          if (!isDiskSound) throw new Error('the disk failed');
          yield page;
        }
      },
    } as never,
    placement: new PlacementDirectory({ state, nodesOf: () => nodes }),
    orders: {
      take: async (orders: readonly Order[]) => {
        wanted.push(...orders.map(({ ns, key }) => `${ns}/${key}`));
        return orders.length;
      },
    },
    state,
    stateAt: (seq) => states[seq] as never,
    onChanged: () => {
      changes += 1;
    },
  });
  follower.start();
  await clock.advance(10);
}

test('a directory that has followed nothing goes through all versions once, and a later start through none', async () => {
  await start();
  await clock.advance(5_000);
  expect(wanted).toEqual(['docs/a', 'files/b', 'docs/c']);
  await clock.run(follower.stop(), patienceMs);
  await start();
  await clock.advance(5_000);
  expect(wanted).toHaveLength(3);
});

test('a policy that changed has the versions of its namespace looked at, and an entry that moves nothing none', async () => {
  await start();
  await clock.advance(5_000);
  wanted.length = 0;
  decide({ docs: { replicas: 4 }, files: { replicas: 1 } });
  follower.changed();
  await clock.advance(5_000);
  expect(wanted).toEqual(['docs/a', 'docs/c']);
  expect(changes).toBe(2);
  decide({ docs: { replicas: 4 }, files: { replicas: 1, readMode: 'confirmed_only' } });
  follower.changed();
  await clock.advance(5_000);
  expect([wanted.length, changes]).toEqual([2, 2]);
});

test('a walk that failed is made again a minute later', async () => {
  isDiskSound = false;
  await start();
  await clock.advance(5_000);
  expect(wanted).toEqual([]);
  expect(log.lines.map(({ event }) => event)).toContain('placement:not_followed');
  isDiskSound = true;
  await clock.advance(50_000);
  expect(wanted).toEqual([]);
  await clock.advance(15_000);
  expect(wanted).toEqual(['docs/a', 'files/b', 'docs/c']);
});

test('a walk that a stop cut short is made again at the next start, from its beginning', async () => {
  await start();
  await clock.advance(1_500);
  expect(wanted).toEqual(['docs/a', 'files/b']);
  await clock.run(follower.stop(), patienceMs);
  wanted.length = 0;
  await start();
  await clock.advance(5_000);
  expect(wanted).toEqual(['docs/a', 'files/b', 'docs/c']);
});

test('what is decided during a walk is followed after it', async () => {
  await start();
  await clock.advance(500);
  decide({ docs: { replicas: 4 }, files: { replicas: 1 } });
  follower.changed();
  await clock.advance(10_000);
  expect(wanted).toEqual(['docs/a', 'files/b', 'docs/c', 'docs/a', 'docs/c']);
});
