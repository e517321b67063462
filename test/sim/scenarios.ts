import { defaultSlotRules } from '../../crdt/slot-placement.ts';
import { SeededRandom } from '../../src/adapters/memory/random.ts';
import { Draw } from './draw.ts';
import { allFaults, type FaultMix, FaultSchedule } from './fault-schedule.ts';
import { HostilePeer } from './hostile-peer.ts';
import { type AdapterFaultName, adapterFaults } from './mutants/adapter-faults.ts';
import { dcs } from './placement-faults.ts';
import type { LinkProfile } from './sim-links.ts';
import type { SimulationOptions } from './simulated-nodes.ts';
import { namespace, Simulation } from './simulation.ts';
import { Stranger } from './stranger.ts';
import { b3Of, usualWorkload, Workload, type WorkloadOptions } from './workload.ts';

/** A kind of run: what clients do and what goes wrong. The seed draws the rest. */
export interface Scenario {
  /** One sentence for `--help`. */
  readonly about: string;
  readonly operations: number;
  readonly faults: FaultMix;
  /** Mean number of faults to an operation. */
  readonly faultsPerOperation: number;
  readonly hostile: boolean;
  readonly workload: WorkloadOptions;
  /** Slots are placed, on so few nodes beside the coordinators, of which there is one at first. */
  readonly slotReplicas?: readonly number[];
  /** Links without faults of their own. */
  readonly steadyLinks?: boolean;
  /** Members have labels, a policy wants them apart, and content moves soon: see `placedContent`. */
  readonly placedContent?: boolean;
  /** Mean times between two operations, of which a run draws one; 20 to 300 ms when absent. */
  readonly paces?: readonly number[];
  /** How long each node's scrub takes to look at everything. */
  readonly scrubPeriodMs?: number;
}

const usual: Scenario = {
  about: 'clients of every kind, and everything that can go wrong',
  operations: 200,
  faults: allFaults,
  faultsPerOperation: 0.25,
  hostile: true,
  workload: usualWorkload,
};

/** Coordinators that crash, fall apart and are slow. */
const restlessCoordinators: FaultMix = {
  partition: 8,
  heal: 8,
  cutOneWay: 5,
  clog: 4,
  dropConnection: 5,
  dropAfter: 12,
  crash: 14,
  stop: 4,
  pause: 3,
  jumpClock: 3,
  slowDown: 3,
};

export const scenarios = {
  default: usual,
  calm: { ...usual, about: 'no faults at all', faults: {}, faultsPerOperation: 0, hostile: false, steadyLinks: true },
  partitions: {
    ...usual,
    about: 'a network that falls apart and heals over and over, and nodes that restart',
    faults: {
      partition: 10,
      heal: 6,
      cutOneWay: 5,
      clog: 6,
      dropConnection: 5,
      dropAfter: 15,
      slowDown: 3,
      crash: 3,
      stop: 2,
      pause: 1,
      jumpClock: 2,
    },
    faultsPerOperation: 0.4,
    hostile: false,
  },
  disks: {
    ...usual,
    about: 'disks that fail, fill up, rot, are rolled back, copied and wiped, under crashes and a busy scrub',
    scrubPeriodMs: 20_000,
    faults: { ...allFaults, partition: 0, heal: 0, cutOneWay: 0, clog: 0, dropAfter: 0, pause: 0, slowDown: 0 },
    faultsPerOperation: 0.4,
    hostile: false,
  },
  crashes: {
    ...usual,
    about: 'power cuts and restarts, one after the other',
    faults: { crash: 20, stop: 6, dropConnection: 3 },
    faultsPerOperation: 0.5,
    hostile: false,
  },
  hostile: {
    ...usual,
    about: 'a member that forges, replays, truncates and contradicts, on a sound network',
    faults: { crash: 2, dropConnection: 2, dropAfter: 4, partition: 1, heal: 2 },
    faultsPerOperation: 0.1,
  },
  files: {
    ...usual,
    about: 'mostly contents of several chunks, under a busy scrub',
    scrubPeriodMs: 20_000,
    operations: 60,
    workload: { ...usualWorkload, filesShare: 0.4, largeShare: 0.2 },
  },
  conflicts: {
    ...usual,
    about: 'everyone writes the same two keys',
    workload: { ...usualWorkload, keys: 2 },
  },
  slots: {
    ...usual,
    about: 'nodes that hold different slots, under partitions and restarts, while coordinators come and go',
    faults: {
      partition: 10,
      heal: 8,
      cutOneWay: 3,
      clog: 4,
      dropConnection: 6,
      dropAfter: 8,
      crash: 6,
      stop: 4,
      pause: 2,
      jumpClock: 1,
      changeRoles: 8,
    },
    faultsPerOperation: 0.3,
    hostile: false,
    workload: { ...usualWorkload, keys: 24 },
    slotReplicas: [1, 2, 3],
  },
  coordinators: {
    ...usual,
    about: 'coordinators that crash, fall apart, are put back, and come and go, while everyone writes a few keys',
    faults: {
      ...restlessCoordinators,
      changeRoles: 14,
      changeSettings: 6,
      backUp: 3,
      restoreBackup: 2,
      rollBack: 1,
    },
    faultsPerOperation: 0.4,
    hostile: false,
    workload: { ...usualWorkload, keys: 4 },
  },
  quorum: {
    ...usual,
    about: 'clients that wait until their writes are confirmed, while coordinators crash, fall apart, come and go',
    faults: {
      ...restlessCoordinators,
      crash: 10,
      failWrites: 4,
      failFlush: 4,
      changeRoles: 8,
    },
    faultsPerOperation: 0.3,
    hostile: false,
    workload: { ...usualWorkload, keys: 40, quorumShare: 0.8 },
  },
  placement: {
    ...usual,
    about:
      'labels, policies and capacities that change, nodes that drain, stay away and come back, and a holder that lies',
    operations: 120,
    faults: {
      partition: 4,
      heal: 8,
      cutOneWay: 2,
      clog: 2,
      dropConnection: 4,
      dropAfter: 4,
      crash: 6,
      stayAway: 8,
      stop: 3,
      pause: 2,
      slowDown: 4,
      fillDisk: 4,
      rotBlob: 4,
      loseDisk: 6,
      changePolicy: 8,
      changeLabels: 8,
      changeCapacity: 6,
      drain: 6,
      changeStorage: 4,
    },
    faultsPerOperation: 0.3,
    workload: { ...usualWorkload, keys: 24, filesShare: 0.2 },
    placedContent: true,
    paces: [300, 1_000, 2_000],
  },
} satisfies Record<string, Scenario>;

export type ScenarioName = keyof typeof scenarios;

const hourMs = 3_600_000;
/** For how long nodes remember gossip where somebody replays it: shorter than a run, which is over before gossipsub forgets. */
const seenGossipMs = [2_000, 5_000] as const;

export interface RunOptions {
  readonly scenario: ScenarioName;
  readonly seed: number;
  readonly nodes: number;
  readonly operations?: number;
  /** A deliberate fault among the adapters, by name. */
  readonly fault?: AdapterFaultName;
  readonly onLine?: (line: string) => void;
}

/**
 * The size of mesh that the scenarios' numbers were chosen for. In a larger one each node does as much as in a small
 * one, so all of them do more, to more keys, in the same time; a fault touches more links, and a lie reaches more nodes, so they come
 * as much more seldom; and with more peers to ask, each is asked less often.
 */
const usualNodes = 5;

/** The members' names, as many as are asked for. */
function nodeNames(count: number): string[] {
  const first = ['alice', 'bob', 'carol', 'dave', 'erin', 'frank', 'grace', 'heidi', 'ivan', 'judy'];
  return Array.from({ length: count }, (_, index) => first[index] ?? `node-${index + 1}`);
}

/** Labels for all members, and times so short that nodes are missed, replaced and back within one run. */
function placedContent(names: readonly string[], shape: Draw): Partial<SimulationOptions> {
  const labels = names.map(
    (name, index) => [name, { dc: dcs[index % dcs.length] as string, rack: `r${index}` }] as const,
  );
  return {
    labels: Object.fromEntries(labels),
    membership: { heartbeatIntervalMs: 1_000, suspectAfterMs: 4_000, offlineAfterMs: 12_000 },
    replication: { repairDelayMs: shape.pick([15_000, 40_000]), auditEveryMs: 60_000, followEveryMs: 2_000 },
  };
}

/** A run that is set up and has not begun. */
export function prepare(options: RunOptions): { sim: Simulation; play: () => Promise<Workload> } {
  const scenario: Scenario = scenarios[options.scenario];
  const seed = `${options.scenario}:${options.nodes}:${options.seed}`;
  const shape = new Draw(new SeededRandom(seed).split('shape'));
  const gossip = new Draw(new SeededRandom(seed).split('gossip'));
  const names = nodeNames(options.nodes);
  const placed =
    scenario.slotReplicas === undefined
      ? // So large a mesh places its slots by itself.
        names.length > defaultSlotRules.threshold
        ? { slotPlacement: defaultSlotRules }
        : {}
      : {
          slotPlacement: { threshold: 0, replicas: shape.pick(scenario.slotReplicas) },
          coordinators: names.slice(0, 1),
        };
  const sim = new Simulation({
    seed,
    nodes: names,
    ...placed,
    ...(scenario.placedContent ? placedContent(names, shape) : {}),
    hostile: scenario.hostile ? ['mallory'] : [],
    links: scenario.steadyLinks ? calm : drawLinks(shape),
    ...(scenario.hostile ? { seenGossipMs: gossip.pick(seenGossipMs) } : {}),
    flushDelayMs: [0.5, shape.between(1, 30)],
    syncIntervalMs: shape.pick([2_000, 10_000, 30_000]) * Math.max(1, options.nodes / usualNodes),
    ...(scenario.scrubPeriodMs === undefined ? {} : { scrubPeriodMs: scenario.scrubPeriodMs }),
    ...(options.fault === undefined ? {} : { tamper: adapterFaults[options.fault] }),
  });
  if (options.onLine !== undefined) sim.trace.print(options.onLine);
  return { sim, play: () => play(sim, scenario, options.operations ?? scenario.operations) };
}

async function play(sim: Simulation, scenario: Scenario, operations: number): Promise<Workload> {
  const scale = Math.min(1, usualNodes / sim.machines.size);
  const pace = new Draw(sim.random.split('pace'));
  const keys = Math.round(scenario.workload.keys / scale);
  const workload = new Workload(sim, new Draw(sim.random.split('workload')), { ...scenario.workload, keys });
  const faults = new FaultSchedule(sim, new Draw(sim.random.split('faults')), scenario.faults);
  const clocks = new Draw(sim.random.split('clocks'));
  if (scenario.faultsPerOperation > 0 && clocks.chance(0.5)) sim.skewClocks(() => clocks.between(-12, 12) * hourMs);
  if (scenario.hostile) await new Stranger(sim).join();
  await sim.startAll();
  const mallory = scenario.hostile ? new HostilePeer(sim, 'mallory') : undefined;
  await mallory?.join();
  const meanGapMs = pace.pick(scenario.paces ?? [20, 100, 300]) * scale;
  while (workload.started < operations) {
    await sim.advance(-Math.log(1 - pace.random.fraction()) * meanGapMs);
    faults.catchUp();
    workload.step();
    if (pace.chance(scenario.faultsPerOperation * scale)) faults.step();
    if (mallory !== undefined && pace.chance(0.3 * scale)) mallory.act();
  }
  sim.trace.note('the faults end');
  await mallory?.leave();
  sim.endFaults();
  await sim.until(() => faults.isIdle);
  faults.startAll();
  await sim.until(() => faults.isIdle);
  sim.endFaults();
  await sim.runUntilQuiet();
  if (sim.isPlaced) await listEverything(sim);
  await readEverything(sim);
  await stopEverything(sim);
  return workload;
}

/** Lists everything through every node, page by page: those that hold a part have to show the same as the others. */
async function listEverything(sim: Simulation): Promise<void> {
  const expected = sim.listedKeys().join();
  for (const name of sim.up()) {
    const keys: string[] = [];
    for (let after: string | null | undefined; after !== null; ) {
      const asked = { ns: namespace, limit: 7, ...(after === undefined ? {} : { after }) };
      const page = await sim.run(sim.node(name).wholeList(asked));
      if (!page.ok) sim.violate('convergence', `${name} cannot list everything: ${page.error.code}`);
      keys.push(...(page.ok ? page.value.objects.map(({ key }) => key) : []));
      after = page.ok ? page.value.next : null;
    }
    if (keys.join() !== expected) sim.violate('convergence', `${name} lists [${keys}], and there are [${expected}]`);
  }
  sim.throwIfViolated();
}

/** Reads every version to its end, each through another node, and compares the bytes with what the version names. */
async function readEverything(sim: Simulation): Promise<void> {
  const names = sim.up();
  let turn = 0;
  for (const { version, doc } of sim.library.all()) {
    const { key, content } = version.record;
    const name = names[turn++ % names.length] as string;
    // Where slots are placed, a node that does not hold the slot serves what its holders have.
    const isThere = sim.get(name).holdings.has(version.id);
    const isElsewhere = sim.isPlaced && sim.holdersOf(doc).some(({ holdings }) => holdings.has(version.id));
    if (content === null || (!isThere && !isElsewhere)) continue;
    if (sim.ledger.excusedContents.has(content.manifest)) continue;
    const read = await sim.run(sim.readBytes(name, key, version.id));
    if (!read.ok || b3Of([read.value]) !== content.b3) {
      sim.violate('no-loss', `${name} does not serve version ${version.id} of ${key} as it was written`);
    }
  }
  sim.throwIfViolated();
}

/** All nodes stop in good order, and what they leave on their disks is checked once more. */
async function stopEverything(sim: Simulation): Promise<void> {
  for (const name of sim.up()) await sim.stop(name);
  sim.throwIfViolated();
}

const calm: LinkProfile = {
  delayMsMin: 1,
  delayMsTail: 0,
  lost: 0,
  duplicated: 0,
  torn: 0,
  bytesPerMs: 1e6,
  noticeMsMax: 1,
};

function drawLinks(draw: Draw): LinkProfile {
  return {
    delayMsMin: draw.between(0.1, 5),
    delayMsTail: draw.pick([0.5, 5, 50]),
    lost: draw.pick([0, 0.05, 0.4]),
    duplicated: draw.pick([0, 0.02, 0.2]),
    torn: draw.pick([0, 0.05]),
    bytesPerMs: draw.pick([200, 2_000, 100_000]),
    noticeMsMax: draw.pick([20, 2_000, 20_000]),
  };
}
