import { beforeEach, describe, expect, it } from 'vitest';
import type { NamespacePolicy } from '../../crdt/control/namespace-policy.ts';
import { SeededRandom } from '../../src/adapters/memory/random.ts';
import type { AskedOperation } from '../../src/node/cluster-api.ts';
import { Draw } from './draw.ts';
import { withBrokenTransfers, withLies } from './lying-holder.ts';
import type { SimulationOptions } from './simulated-nodes.ts';
import { namespace, Simulation } from './simulation.ts';
import { isContentIntact } from './soundness.ts';
import type { VersionLibrary } from './version-library.ts';

const names = ['alice', 'bob', 'carol', 'dave', 'erin'];
const labels = { alice: { dc: 'a' }, bob: { dc: 'a' }, carol: { dc: 'b' }, dave: { dc: 'b' }, erin: { dc: 'c' } };
const repairDelayMs = 30_000;
/** With the settings below a node counts as offline 15 s after its last heartbeat at the latest. */
const missedMs = 15_000;
const keys = Array.from({ length: 12 }, (_, index) => `key-${index}`);

interface StartOptions extends Partial<SimulationOptions> {
  /** Is handed the simulation before any node starts. */
  readonly onMade?: (sim: Simulation) => void;
}

const start = async (seed: string, { onMade, ...options }: StartOptions = {}): Promise<Simulation> => {
  const sim = new Simulation({
    seed,
    nodes: names,
    labels,
    membership: { heartbeatIntervalMs: 1_000, suspectAfterMs: 4_000, offlineAfterMs: 12_000 },
    replication: { repairDelayMs, followEveryMs: 1_000, auditEveryMs: 60_000 },
    ...options,
  });
  onMade?.(sim);
  await sim.startAll();
  await sim.run(
    sim.node('alice').cluster.change({
      operation: { type: 'namespace', ns: namespace, policy: { replicas: 3, diversity: { dc: 2 } } },
      actor: 'operator',
    }),
  );
  await sim.advance(2_000);
  return sim;
};

const writeAll = async (sim: Simulation, from = 'alice'): Promise<void> => {
  for (const key of keys) await sim.write(from, key, `the content of ${key}`);
};

const manifestOf = (sim: Simulation, key: string) => {
  const known = [...sim.library.all()].find(({ version }) => version.record.key === key);
  const manifest = known?.version.record.content?.manifest;
  if (manifest === undefined) throw new Error(`${key} has no content`);
  return manifest;
};

const holdersOf = (sim: Simulation, key: string): string[] => {
  const manifest = manifestOf(sim, key);
  return [...sim.machines.values()].filter(({ contents }) => contents.has(manifest)).map(({ name }) => name);
};

const desiredOf = (sim: Simulation, key: string): string[] =>
  sim.contentHoldersOf({ ns: namespace, key }).map(({ name }) => name);

/** Of which nodes a node's events about replication have told with this status. */
const toldOf = async (sim: Simulation, by: string, status: string): Promise<unknown[]> => {
  const stopped = new AbortController();
  const told: unknown[] = [];
  const reading = (async () => {
    for await (const { type, data } of sim.node(by).events({ after: 0, signal: stopped.signal })) {
      const { status: its, nodeId } = data as { readonly status?: unknown; readonly nodeId?: unknown };
      if (type === 'replication' && its === status) told.push(nodeId);
    }
  })();
  await sim.advance(10);
  stopped.abort();
  await reading;
  return told;
};

/** The totals of what all coordinators that are up find. */
const totals = async (sim: Simulation) => {
  const sums: Record<string, number> = {};
  for (const name of sim.up()) {
    const { auditor } = sim.node(name).replicationParts;
    if (!auditor.status().isAuditor) continue;
    const { plan } = await sim.run(auditor.audit('demand'));
    for (const [what, count] of Object.entries(plan.totals)) sums[what] = (sums[what] ?? 0) + count;
  }
  return sums;
};

/** Someone of these who does not write in the script, so that a crash takes no intent along. */
const other = (holders: readonly string[], ...not: string[]): string => {
  const found = holders.find((name) => !not.includes(name));
  if (found === undefined) throw new Error(`nobody but ${not}`);
  return found;
};

describe('content', () => {
  it('ends at exactly its desired holders, and every node serves it', async () => {
    const sim = await start('placed');
    await writeAll(sim);
    await sim.runUntilQuiet();
    for (const key of keys) {
      expect(holdersOf(sim, key).sort()).toEqual(desiredOf(sim, key).sort());
      expect(holdersOf(sim, key)).toHaveLength(3);
      for (const name of names) expect(await sim.read(name, key)).toBe(`the content of ${key}`);
    }
    expect(await totals(sim)).toMatchObject({ subjects: keys.length, healthy: keys.length, pulls: 0 });
  });

  it('of a node that stays away is planned for at once, moves after the delay, and is surplus when the node is back', async () => {
    const sim = await start('stays away');
    await writeAll(sim);
    await sim.runUntilQuiet();
    const victim = 'erin';
    const hit = keys.filter((key) => holdersOf(sim, key).includes(victim));
    sim.crash(victim);
    await sim.advance(missedMs + 5_000);
    expect(await totals(sim)).toMatchObject({ waitingPulls: hit.length, pulls: 0 });
    for (const key of hit) expect(holdersOf(sim, key).filter((name) => name !== victim)).toHaveLength(2);
    await sim.advance(repairDelayMs + 20_000);
    for (const key of hit) expect(holdersOf(sim, key).filter((name) => name !== victim)).toHaveLength(3);
    expect(await totals(sim)).toMatchObject({ healthy: keys.length, pulls: 0 });
    await sim.restart(victim);
    await sim.runUntilQuiet();
    expect(await totals(sim)).toMatchObject({ over: hit.length, surplusCopies: hit.length });
    for (const key of keys) expect(await sim.read(victim, key)).toBe(`the content of ${key}`);
  });

  it('stays where it is while nodes flap within the delay', async () => {
    const sim = await start('flaps');
    await writeAll(sim);
    await sim.runUntilQuiet();
    const before = keys.map((key) => holdersOf(sim, key).join());
    for (const victim of ['dave', 'erin', 'dave', 'bob']) {
      sim.crash(victim);
      await sim.advance(missedMs + repairDelayMs / 2);
      await sim.restart(victim);
      await sim.advance(10_000);
    }
    await sim.runUntilQuiet();
    expect(keys.map((key) => holdersOf(sim, key).join())).toEqual(before);
  });

  it('all of whose holders are away is refused, keeps nobody waiting, and is there again when one returns', async () => {
    const sim = await start('all away');
    await writeAll(sim);
    await sim.runUntilQuiet();
    const key = keys.find((each) => holdersOf(sim, each).filter((name) => name !== 'alice').length < names.length - 1);
    if (key === undefined) throw new Error('every content is everywhere');
    const holders = holdersOf(sim, key);
    const reader = other(names, ...holders);
    for (const name of holders) sim.crash(name);
    const startMs = sim.nowMs();
    const refused = await sim.run(sim.readBytes(reader, key));
    expect(refused.ok ? undefined : refused.error.code).toBe('content_unavailable');
    expect(sim.nowMs() - startMs).toBeLessThan(40_000);
    await sim.restart(holders[0] as string);
    await sim.advance(5_000);
    expect(await sim.read(reader, key)).toBe(`the content of ${key}`);
    for (const name of holders.slice(1)) await sim.restart(name);
    await sim.runUntilQuiet();
  });

  it('is placed elsewhere while the disk of a desired holder is full, which is reported', async () => {
    const sim = await start('disk full');
    sim.fillDisk('erin');
    await writeAll(sim);
    await sim.advance(120_000);
    const hit = keys.filter((key) => desiredOf(sim, key).includes('erin'));
    expect(hit.length).toBeGreaterThan(0);
    for (const key of hit) {
      expect(holdersOf(sim, key)).not.toContain('erin');
      expect(holdersOf(sim, key).length).toBeGreaterThanOrEqual(3);
    }
    expect(sim.process('alice').metrics.value('anabranch_replication_full_nodes')).toBe(1);
    sim.freeDisk('erin');
    await sim.runUntilQuiet();
    for (const key of hit) expect(holdersOf(sim, key)).toContain('erin');
  });

  it('moves when labels change at run time, so that the policy is met again', async () => {
    const sim = await start('labels');
    await writeAll(sim);
    await sim.runUntilQuiet();
    const { nodeId } = sim.member('erin');
    for (const name of ['carol', 'dave']) {
      const operation = { type: 'labels', nodeId: sim.member(name).nodeId, labels: { dc: 'a' } } as const;
      await sim.run(sim.node('alice').cluster.change({ operation, actor: 'operator' }));
    }
    await sim.runUntilQuiet();
    // Two values of dc are left, and one node has the second: everything is there too.
    expect(nodeId).toBe(sim.member('erin').nodeId);
    for (const key of keys) expect(holdersOf(sim, key)).toContain('erin');
  });

  it('drains from a node, which says when it may be switched off', async () => {
    const sim = await start('drains');
    await writeAll(sim);
    await sim.runUntilQuiet();
    const { nodeId } = sim.member('dave');
    await sim.run(
      sim.node('alice').cluster.change({ operation: { type: 'drain', nodeId, draining: true }, actor: 'operator' }),
    );
    await sim.runUntilQuiet();
    const look = () => sim.run(sim.node('alice').replicationParts.drainProgress(nodeId));
    await look();
    await sim.advance(2_000);
    expect((await look())?.remaining).toBe(0);
    sim.crash('dave');
    for (const key of keys) expect(await sim.read('bob', key)).toBe(`the content of ${key}`);
  });
});

describe('a holder', () => {
  const large = Array.from({ length: 24 }, (_, index) =>
    new Uint8Array(65_536).map((_, at) => (at * 31 + index) & 0xff),
  );

  it('that dies in the middle of a transfer is replaced by another in it', async () => {
    const sim = await start('dies');
    await sim.write('alice', 'file', large);
    const [first, second] = desiredOf(sim, 'file').filter((name) => name !== 'alice') as [string, string];
    const received = (): number => sim.process(second).metrics.value('anabranch_blobs_received_bytes_total');
    await sim.until(() => holdersOf(sim, 'file').includes(first) || received() > 0);
    sim.crash(first);
    await sim.until(() => holdersOf(sim, 'file').includes(second));
    await sim.restart(first);
    await sim.runUntilQuiet();
    for (const name of desiredOf(sim, 'file')) expect(holdersOf(sim, 'file')).toContain(name);
  });

  it('that lost what it claims is found out by a challenge, and mends it', async () => {
    const sim = await start('lost', { scrubPeriodMs: 14 * 24 * 3_600_000 });
    await sim.write('alice', 'file', large);
    await sim.runUntilQuiet();
    const manifest = manifestOf(sim, 'file');
    const victim = other(holdersOf(sim, 'file'), 'alice');
    for (let tries = 0; tries < 40 && isContentIntact(sim.get(victim), manifest, 'now'); tries += 1)
      sim.rotBlob(victim);
    expect(isContentIntact(sim.get(victim), manifest, 'now')).toBe(false);
    for (let turn = 0; turn < 20 && !isContentIntact(sim.get(victim), manifest, 'now'); turn += 1) {
      await totals(sim);
      await sim.advance(15_000);
    }
    expect(isContentIntact(sim.get(victim), manifest, 'now')).toBe(true);
    await sim.runUntilQuiet();
  });

  it('that lies about what it has is caught, told of, and not counted on: others hold the content', async () => {
    const liar = 'erin';
    const lies: string[] = [];
    let library: VersionLibrary | undefined;
    const sim = await start('lies', {
      tamper: (adapters, name) => {
        const draw = new Draw(new SeededRandom('lies'));
        const options = () => ({ draw, library: library as VersionLibrary, onLie: (kind: string) => lies.push(kind) });
        return name === liar ? withLies(adapters, options) : adapters;
      },
      onMade: (made) => {
        library = made.library;
        made.ledger.liars.add(made.member(liar).nodeId);
      },
    });
    await writeAll(sim);
    await sim.advance(240_000);
    expect(lies).toContain('proof');
    const coordinators = ['alice', 'bob', 'carol'];
    const caught = coordinators.map((name) => sim.process(name).metrics.value('anabranch_replica_false_proofs_total'));
    expect(Math.max(...caught)).toBeGreaterThan(0);
    expect(sim.process('alice').log.lines.lines.some(({ event }) => event === 'replication:false_proof')).toBe(true);
    expect(new Set(await toldOf(sim, 'alice', 'false_proof'))).toEqual(new Set([sim.member(liar).nodeId]));
    const hit = keys.filter((key) => desiredOf(sim, key).includes(liar));
    expect(hit.length).toBeGreaterThan(0);
    for (const key of hit) expect(holdersOf(sim, key).filter((name) => name !== liar).length).toBeGreaterThanOrEqual(3);
  });

  describe('whose every transfer breaks off while it is online', () => {
    const victim = 'erin';
    let isBroken: boolean;
    let sim: Simulation;
    let hit: string[];

    beforeEach(async () => {
      isBroken = false;
      sim = await start('breaks off', {
        tamper: (adapters, name) => (name === victim ? withBrokenTransfers(adapters, () => isBroken) : adapters),
      });
      await writeAll(sim);
      await sim.runUntilQuiet();
      hit = keys.filter((key) => holdersOf(sim, key).includes(victim));
      expect(hit.length).toBeGreaterThan(0);
      isBroken = true;
    });

    const suspects = async (): Promise<number> => {
      const { auditors } = await sim.run(sim.node('alice').replication.status());
      return auditors.reduce((sum, { last }) => sum + (last?.suspects ?? 0), 0);
    };
    const others = (key: string): string[] => holdersOf(sim, key).filter((name) => name !== victim);

    it('is waited for as long as one that is away, then replaced, which is told; and believed again once it proves what it has', async () => {
      await sim.advance(repairDelayMs);
      for (const key of hit) expect(others(key)).toHaveLength(2);
      await sim.advance(180_000);
      for (const key of hit) expect(others(key)).toHaveLength(3);
      expect(await suspects()).toBe(hit.length);
      expect(sim.process('alice').log.lines.lines.some(({ event }) => event === 'replication:unproved')).toBe(true);
      expect(new Set(await toldOf(sim, 'alice', 'unproved'))).toEqual(new Set([sim.member(victim).nodeId]));
      isBroken = false;
      await sim.advance(120_000);
      expect(await suspects()).toBe(0);
      await sim.runUntilQuiet();
      expect(await totals(sim)).toMatchObject({ over: hit.length, surplusCopies: hit.length, under: 0, mis: 0 });
    });

    it('costs one copy more, and never another, however often that begins anew', async () => {
      await sim.advance(240_000);
      const copies = keys.map((key) => holdersOf(sim, key).join());
      const stored = (): number[] =>
        names.map((name) => sim.process(name).metrics.value('anabranch_content_pulls_stored_total'));
      const before = stored();
      for (let turn = 0; turn < 5; turn += 1) {
        isBroken = !isBroken;
        await sim.advance(200_000);
      }
      expect(keys.map((key) => holdersOf(sim, key).join())).toEqual(copies);
      expect(stored()).toEqual(before);
    });

    it('is trusted all the while when its link breaks now and then, and nothing moves', async () => {
      const copies = keys.map((key) => holdersOf(sim, key).join());
      for (let turn = 0; turn < 12; turn += 1) {
        isBroken = !isBroken;
        await sim.advance(20_000);
      }
      expect(keys.map((key) => holdersOf(sim, key).join())).toEqual(copies);
      expect(await suspects()).toBe(0);
    });
  });
});

describe('a write at a node that need not hold it', () => {
  /** Nobody runs `mallory`, which alone is in another place; alice holds nothing. */
  const writeWithoutMallory = async (policy: NamespacePolicy): Promise<Simulation> => {
    const sim = await start('alone in its place', {
      hostile: ['mallory'],
      labels: { ...Object.fromEntries(names.map((name) => [name, { dc: 'a', rack: name }])), mallory: { dc: 'b' } },
    });
    const change = (operation: AskedOperation) => sim.run(sim.change('alice', operation));
    await change({ type: 'namespace', ns: namespace, policy });
    await change({ type: 'roles', nodeId: sim.member('alice').nodeId, roles: ['coordinator'] });
    await sim.advance(2_000);
    await writeAll(sim);
    await sim.runUntilQuiet();
    for (const key of keys) expect(holdersOf(sim, key)).toContain('alice');
    return sim;
  };
  const pending = (sim: Simulation): number => sim.node('alice').replicationParts.intents.pending;

  it('stays there while the policy is not met without who is gone, and is waited for no longer where that one would not do either', async () => {
    expect(pending(await writeWithoutMallory({ replicas: 2, diversity: { dc: 2, rack: 2 } }))).toBe(0);
    expect(pending(await writeWithoutMallory({ replicas: 2, diversity: { dc: 2 } }))).toBe(keys.length);
  });
});
