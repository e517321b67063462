import { afterEach, describe, expect, test, vi } from 'vitest';
import { fiveNodes, ReplicaMesh, type ReplicaMeshOptions, type WrittenContent } from '../../support/replica-mesh.ts';

// Minutes of virtual time, on machines that may be busy.
vi.setConfig({ testTimeout: 60_000 });

let mesh: ReplicaMesh;
afterEach(() => mesh.stop());

const start = async (options: Partial<ReplicaMeshOptions> = {}): Promise<void> => {
  mesh = await ReplicaMesh.start({ ...fiveNodes, ...options });
};

const auditors = () => mesh.nodes.filter(({ isUp, replication }) => isUp && replication.auditor.status().isAuditor);

/** The totals over all the slots, each of which one coordinator audits. */
const auditAll = async () => {
  const reports = await mesh.run(Promise.all(auditors().map(({ replication }) => replication.auditor.audit('demand'))));
  const sum = (field: keyof (typeof reports)[number]['plan']['totals']): number =>
    reports.reduce((total, { plan }) => total + plan.totals[field], 0);
  return {
    subjects: sum('subjects'),
    healthy: sum('healthy'),
    under: sum('under'),
    mis: sum('mis'),
    over: sum('over'),
    unreachable: sum('unreachable'),
    degraded: sum('degraded'),
  };
};

describe('a write', () => {
  test('ends at exactly its desired holders, and leaves the writer once they have proved it', async () => {
    await start();
    const written = await mesh.writeMany(40);
    await mesh.settle(20_000);
    for (const each of written) expect(mesh.holders(each).sort()).toEqual(mesh.desired(each).sort());
    expect(mesh.nodes.map(({ replication }) => replication.intents.pending)).toEqual([0, 0, 0, 0, 0]);
    expect(mesh.get('north').contents.drops.length).toBeGreaterThan(0);
    expect(await auditAll()).toEqual({
      subjects: 40,
      healthy: 40,
      under: 0,
      mis: 0,
      over: 0,
      unreachable: 0,
      degraded: 0,
    });
  });

  test('is asked of those who say that they have it, other than who asks', async () => {
    await start();
    const written = await mesh.writeMany(12);
    await mesh.settle(20_000);
    for (const each of written) {
      for (const asker of auditors()) {
        const others = mesh.nodes.filter((node) => node !== asker && node.holds(each)).map(({ peerId }) => peerId);
        const named = asker.replication.namedHoldersOf(each.manifest);
        expect([...new Set(named)].sort()).toEqual(others.sort());
        expect(asker.replication.holdersOf(each, undefined)).not.toContain(asker.peerId);
      }
    }
  });

  test('that is small is proved once by each holder, also where the writer then drops it', async () => {
    await start();
    const { contents, replication } = mesh.get('north');
    const asked = [vi.spyOn(replication.prover, 'bind'), vi.spyOn(replication.prover, 'sample')];
    const written = await mesh.writeMany(40);
    await mesh.settle(5_000);
    for (const each of written) expect(mesh.holders(each).sort()).toEqual(mesh.desired(each).sort());
    expect(contents.drops.length).toBeGreaterThan(0);
    const others = written.flatMap((each) => mesh.desired(each).filter((name) => name !== 'north'));
    const proofs = await Promise.all(asked.flatMap(({ mock }) => mock.results.map(({ value }) => value)));
    expect(proofs.flat().filter(({ result }) => result === 'proved')).toHaveLength(others.length);
  });

  test('stays with its writer when a holder that had proved it came back without its disk before the others proved it', async () => {
    await start({
      nodes: { north: {}, east: {}, south: {} },
      coordinators: ['north'],
      storage: ['east', 'south'],
      policy: { replicas: 2 },
    });
    const [first, second] = [mesh.get('east'), mesh.get('south')];
    second.contents.mayPull = () => false;
    const written = await mesh.write('north', 'first', 'some bytes');
    const { nodeId, replication } = mesh.get('north');
    await mesh.until(() => replication.intents.provedCopies(written.manifest) === 2);
    first.crash();
    first.contents.mayPull = () => false;
    await first.restart({ isWiped: true });
    second.contents.mayPull = () => true;
    await mesh.settle(10_000);
    expect(mesh.holders(written).sort()).toEqual(['north', 'south']);
    first.contents.mayPull = () => true;
    await first.contents.want([{ content: written.content, subject: { ...written, origin: nodeId } }]);
    await mesh.settle(120_000);
    expect(mesh.holders(written).sort()).toEqual(['east', 'south']);
  });

  test('stays with a writer that should not hold it while one desired holder has not proved it', async () => {
    await start();
    const [slow] = ['east', 'south', 'west', 'home'].map((name) => mesh.get(name)) as [(typeof mesh.nodes)[number]];
    slow.contents.mayPull = () => false;
    const written = await mesh.writeMany(40);
    await mesh.settle(20_000);
    for (const each of written) {
      if (!mesh.desired(each).includes('east') || mesh.desired(each).includes('north')) continue;
      expect(mesh.holders(each)).toContain('north');
    }
    slow.contents.mayPull = () => true;
    await mesh.settle(200_000);
    for (const each of written) expect(mesh.holders(each).sort()).toEqual(mesh.desired(each).sort());
  });

  test('keeps its copy, and waits for nothing more, where the policy asks for more than there can be', async () => {
    await start({ policy: { replicas: 2, required: { dc: ['c'] } } });
    const written = await mesh.write('north', 'a', 'text');
    await mesh.settle(20_000);
    expect(mesh.desired(written)).toEqual(['home']);
    expect(mesh.holders(written).sort()).toEqual(['home', 'north']);
    expect(mesh.get('north').replication.intents.pending).toBe(0);
  });

  test('is remembered as not proved yet over a crash of the writer', async () => {
    await start();
    for (const name of ['east', 'south', 'west', 'home']) mesh.get(name).contents.mayPull = () => false;
    const written = await mesh.writeMany(20);
    await mesh.settle(1_000);
    mesh.get('north').crash();
    await mesh.get('north').restart();
    for (const each of written) expect(mesh.holders(each)).toEqual(['north']);
    for (const name of ['east', 'south', 'west', 'home']) mesh.get(name).contents.mayPull = () => true;
    await mesh.settle(200_000);
    for (const each of written) expect(mesh.holders(each).sort()).toEqual(mesh.desired(each).sort());
    expect(mesh.get('north').replication.intents.pending).toBe(0);
  });

  test('tells how many copies of it are proved', async () => {
    await start();
    for (const name of ['east', 'south', 'west', 'home']) mesh.get(name).contents.mayPull = () => false;
    const written = await mesh.write('north', 'a', 'text');
    const { intents } = mesh.get('north').replication;
    const seen: number[] = [];
    intents.onProved(() => seen.push(intents.provedCopies(written.manifest)));
    expect(intents.provedCopies(written.manifest)).toBe(1);
    await mesh.settle(500);
    expect(intents.provedCopies(written.manifest)).toBe(1);
    for (const name of ['east', 'south', 'west', 'home']) mesh.get(name).contents.mayPull = () => true;
    await mesh.settle(120_000);
    expect(seen[0]).toBe(2);
    expect(intents.provedCopies(written.manifest)).toBe(3);
  });
});

describe('an offline node', () => {
  test('has the plan at once, moves nothing within the delay, and is replaced after it', async () => {
    await start();
    const written = await mesh.writeMany(40);
    await mesh.settle(20_000);
    await mesh.get('home').stop();
    const lost = written.filter((each) => mesh.desired(each).includes('home'));
    expect(lost.length).toBeGreaterThan(5);
    await mesh.settle(10_000);
    const plans = auditors().map(({ replication }) => replication.auditor.status().last?.plan);
    expect(plans.reduce((sum, plan) => sum + (plan?.totals.waitingPulls ?? 0), 0)).toBe(lost.length);
    expect(plans.reduce((sum, plan) => sum + (plan?.totals.under ?? 0), 0)).toBe(lost.length);
    for (const each of lost) expect(mesh.holders(each).filter((name) => name !== 'home')).toHaveLength(2);
    await mesh.settle(80_000);
    for (const each of lost) expect(mesh.holders(each).filter((name) => name !== 'home')).toHaveLength(3);
    expect(await auditAll()).toMatchObject({ healthy: 40, under: 0 });
  });

  test('moves nothing when it flaps, however often, within the delay', async () => {
    await start();
    const written = await mesh.writeMany(20);
    await mesh.settle(20_000);
    const before = mesh.nodes.map(({ contents }) => contents.wanted.length);
    for (let time = 0; time < 5; time += 1) {
      await mesh.get('home').stop();
      await mesh.settle(40_000);
      await mesh.get('home').restart({ isClean: true });
      await mesh.settle(20_000);
    }
    expect(mesh.nodes.map(({ contents }) => contents.wanted.length)).toEqual(before);
    for (const each of written) expect(mesh.holders(each).sort()).toEqual(mesh.desired(each).sort());
  });

  test('is reported as over-replicated when it comes back after its replacement, and nothing is lost', async () => {
    await start();
    const written = await mesh.writeMany(30);
    await mesh.settle(20_000);
    await mesh.get('home').stop();
    await mesh.settle(120_000);
    await mesh.get('home').restart({ isClean: true });
    await mesh.settle(20_000);
    const lost = written.filter((each) => mesh.desired(each).includes('home'));
    expect(await auditAll()).toMatchObject({ over: lost.length, under: 0, healthy: 30 - lost.length });
    for (const each of written) expect(mesh.holders(each)).toEqual(expect.arrayContaining(mesh.desired(each)));
  });

  test('that comes back with an empty disk is filled again', async () => {
    await start();
    const written = await mesh.writeMany(30);
    await mesh.settle(20_000);
    await mesh.get('home').stop();
    await mesh.get('home').restart({ isWiped: true });
    for (const each of written) mesh.get('home').versions.add(each);
    await mesh.settle(60_000);
    expect(await auditAll()).toMatchObject({ healthy: 30 });
    for (const each of written) expect(mesh.holders(each).sort()).toEqual(mesh.desired(each).sort());
  });
});

describe('a content that no node online has', () => {
  test('is reported, and heals when one that has it comes back', async () => {
    await start({ policy: { replicas: 2 } });
    const written = await mesh.writeMany(20);
    await mesh.settle(20_000);
    const [victim] = written as [WrittenContent];
    const [first, second] = mesh.desired(victim) as [string, string];
    const isCoordinator = (name: string): boolean => ['north', 'east', 'south'].includes(name);
    await mesh.get(first).stop();
    await mesh.get(second).stop();
    expect((await auditAll()).unreachable).toBeGreaterThan(0);
    await mesh.settle(90_000);
    expect(mesh.nodes.filter((node) => node.isUp && node.holds(victim))).toEqual([]);
    await mesh.get(first).restart({ isClean: true });
    await mesh.settle(90_000);
    expect(mesh.nodes.filter((node) => node.isUp && node.holds(victim)).length).toBeGreaterThanOrEqual(2);
    expect((await auditAll()).unreachable).toBe(0);
    expect([first, second].filter(isCoordinator).length).toBeLessThan(3);
  });
});

describe('a holder that lies', () => {
  test('about what it has lost is caught and replaced elsewhere', async () => {
    await start();
    const written = await mesh.writeMany(30);
    await mesh.settle(20_000);
    await auditAll();
    // The bytes are gone, and the node still says that it has them.
    mesh.get('home').contents.blobs.clear();
    const lost = written.filter((each) => mesh.desired(each).includes('home'));
    for (let time = 0; time < 4; time += 1) {
      await auditAll();
      await mesh.settle(30_000);
    }
    for (const each of lost) expect(mesh.holders(each).filter((name) => name !== 'home').length).toBe(3);
  });

  test('with false proofs is caught by whoever has the bytes', async () => {
    await start();
    const written = await mesh.writeMany(30);
    await mesh.settle(20_000);
    const home = mesh.get('home');
    // It reads other bytes than it says, and does not check them.
    home.contents.lend = (hash) => {
      const bytes = home.contents.blobs.get(hash);
      return bytes === undefined || bytes[0] === 0x7b ? bytes : Uint8Array.from(bytes, (byte) => byte ^ 1);
    };
    for (let time = 0; time < 3; time += 1) {
      await auditAll();
      await mesh.settle(30_000);
    }
    const lost = written.filter((each) => mesh.desired(each).includes('home'));
    expect(mesh.nodes.flatMap(({ falseProofs }) => falseProofs).some(({ node }) => node === home.nodeId)).toBe(true);
    for (const each of lost) {
      const [known] = auditors().map(({ replication }) => replication.index.holders(each.manifest));
      expect(known).toBeDefined();
    }
  });
});

describe('what an administrator changes', () => {
  test('of the members makes a writer forget what those that were removed have proved to it', async () => {
    await start();
    const [first] = await mesh.writeMany(1, 'home');
    await mesh.settle(20_000);
    const { manifest } = first as WrittenContent;
    const copies = () => mesh.get('home').replication.intents.provedCopies(manifest);
    const before = copies();
    const holder = mesh.holders({ manifest }).find((name) => name !== 'home') ?? expect.fail('nobody else holds it');
    mesh.change(() => mesh.control.add({ type: 'remove', nodeId: mesh.get(holder).nodeId }));
    expect(copies()).toBe(before - 1);
  });

  test('moves what it touches: labels, a policy, a node that drains', async () => {
    await start();
    const written = await mesh.writeMany(30);
    await mesh.settle(20_000);
    const { nodeId } = mesh.get('home');
    const { replication } = mesh.get('north');
    const held = written.filter((each) => mesh.desired(each).includes('home')).length;
    const bounds = { subjectsMax: 1_000, movesMax: 1_000 };
    const preview = await mesh.run(replication.preview({ kind: 'drain', nodeId }, bounds));
    expect(preview.totals).toMatchObject({ subjects: 30, moved: held, copies: held });
    const pages = [];
    for (let after: WrittenContent | undefined; ; ) {
      const page = await mesh.run(replication.preview({ kind: 'drain', nodeId }, { ...bounds, subjectsMax: 7 }, after));
      pages.push(...page.moves);
      if (page.next === undefined) break;
      after = page.next as WrittenContent;
    }
    expect(pages).toEqual(preview.moves);
    mesh.change(() => mesh.control.add({ type: 'drain', nodeId, draining: true }));
    expect((await mesh.run(replication.drainProgress(nodeId)))?.remaining).toBe(held);
    await mesh.settle(30_000);
    // The first look has proved what nobody had.
    await mesh.run(replication.drainProgress(nodeId));
    expect(await mesh.run(replication.drainProgress(nodeId))).toEqual({
      contents: held,
      remaining: 0,
      remainingBytes: 0,
      unreadable: 0,
    });
    for (const { subject, to } of preview.moves) {
      for (const node of to) expect(mesh.desired(subject)).toContain(mesh.named(node));
    }
    for (const each of written) {
      expect(mesh.desired(each)).not.toContain('home');
      expect(mesh.holders(each)).toEqual(expect.arrayContaining(mesh.desired(each)));
    }
    mesh.change(() => mesh.control.add({ type: 'namespace', ns: 'docs', policy: { replicas: 4 } }));
    await mesh.settle(30_000);
    for (const each of written) expect(mesh.holders(each)).toEqual(expect.arrayContaining(mesh.desired(each)));
    expect((await auditAll()).under).toBe(0);
  });

  test('that comes while the node is down is followed when it starts', async () => {
    await start({ policy: { replicas: 1 } });
    const written = await mesh.writeMany(20);
    await mesh.settle(20_000);
    await mesh.get('west').stop();
    mesh.change(() => mesh.control.add({ type: 'namespace', ns: 'docs', policy: { replicas: 5 } }));
    await mesh.get('west').restart({ isClean: true });
    await mesh.settle(30_000);
    for (const each of written) expect(mesh.holders(each)).toHaveLength(5);
  });

  test('that no mesh could do is reported as degraded, and does no harm', async () => {
    await start({ policy: { replicas: 3, diversity: { dc: 3 } } });
    const written = await mesh.writeMany(10);
    await mesh.settle(20_000);
    mesh.change(() => mesh.control.add({ type: 'labels', nodeId: mesh.get('home').nodeId, labels: { dc: 'a' } }));
    await mesh.settle(30_000);
    expect(await auditAll()).toMatchObject({ subjects: 10, degraded: 10, under: 0, unreachable: 0 });
    for (const each of written) expect(mesh.holders(each).length).toBeGreaterThanOrEqual(3);
  });
});
