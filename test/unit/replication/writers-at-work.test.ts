import { afterEach, describe, expect, test, vi } from 'vitest';
import type { NodeId, VersionId } from '../../../crdt/ids.ts';
import { VirtualClock } from '../../../src/adapters/memory/clock.ts';
import type { Absent } from '../../../src/replication/absences.ts';
import type { Subject } from '../../../src/replication/subject.ts';
import { atWorkMs, writersAtWork } from '../../../src/replication/writers-at-work.ts';
import { fiveNodes, ReplicaMesh } from '../../support/replica-mesh.ts';

// Minutes of virtual time, on machines that may be busy.
vi.setConfig({ testTimeout: 60_000 });

const writer = 'w' as NodeId;
const nobody: Absent = { gone: new Set(), away: new Set(), nextMs: undefined };

describe('a version', () => {
  const isUnderWay = (ageMs: number, { absent = nobody, members = new Set([writer]), isReadable = true } = {}) => {
    const clock = new VirtualClock();
    const written = () => (isReadable ? { node: writer, time: clock.nowMs() - ageMs } : undefined);
    return writersAtWork({ written, clock }, members, absent)({ version: 'v' as VersionId } as Subject);
  };

  test("is its writer's to copy for ten seconds", () => {
    expect(isUnderWay(0)).toBe(true);
    expect(isUnderWay(atWorkMs - 1)).toBe(true);
    expect(isUnderWay(atWorkMs)).toBe(false);
  });

  test('of a clock that is ahead is so ten seconds before, and not all the while', () => {
    expect(isUnderWay(1 - atWorkMs)).toBe(true);
    expect(isUnderWay(-atWorkMs)).toBe(false);
  });

  test('is not, where the writer is offline or no member, or the record cannot be read', () => {
    expect(isUnderWay(0, { absent: { ...nobody, gone: new Set([writer]) } })).toBe(false);
    expect(isUnderWay(0, { absent: { ...nobody, away: new Set([writer]) } })).toBe(false);
    expect(isUnderWay(0, { members: new Set() })).toBe(false);
    expect(isUnderWay(0, { isReadable: false })).toBe(false);
  });

  test('that came while the audit went through the others is new to it, however long that took', async () => {
    const clock = new VirtualClock();
    const time = clock.nowMs();
    const isNew = writersAtWork({ written: () => ({ node: writer, time }), clock }, new Set([writer]), nobody);
    await clock.advance(5 * atWorkMs);
    expect(isNew({ version: 'v' as VersionId } as Subject)).toBe(true);
  });
});

describe('an audit that nobody asked for', () => {
  let mesh: ReplicaMesh;
  afterEach(() => mesh.stop());
  const start = async () => {
    mesh = await ReplicaMesh.start({ ...fiveNodes, coordinators: ['north'] });
    const { auditor } = mesh.get('north').replication;
    const totals = () => auditor.status().last?.plan.totals;
    return { auditor, totals };
  };
  const audits = (): number =>
    mesh.get('north').metrics.value('anabranch_replication_audits_total', { reason: 'repaired' });

  test('is not followed by another for what is written meanwhile', async () => {
    const { auditor, totals } = await start();
    auditor.placementChanged();
    for (let index = 0; index < 1_000; index += 1) {
      await mesh.write('north', `key-${index}`, `content ${index}`);
      await mesh.settle(10);
    }
    expect(totals()).toBeDefined();
    expect(totals()).toMatchObject({ under: 0, mis: 0, unreachable: 0, pulls: 0 });
    expect(audits()).toBe(0);
  });

  test('sees to what a writer that is online has not got copied in ten seconds, and asked for to all', async () => {
    const { auditor, totals } = await start();
    for (const node of mesh.nodes) node.contents.mayPull = () => false;
    await mesh.write('north', 'slow', 'content');
    auditor.placementChanged();
    await mesh.settle(3_000);
    expect(totals()).toMatchObject({ subjects: 0, pulls: 0 });
    const { plan } = await mesh.run(auditor.audit('demand'));
    expect(plan.totals).toMatchObject({ subjects: 1, under: 1 });
    expect((await mesh.run(auditor.plan())).totals).toMatchObject({ subjects: 1, under: 1 });
    await mesh.settle(atWorkMs);
    auditor.placementChanged();
    await mesh.settle(3_000);
    expect(totals()).toMatchObject({ subjects: 1, under: 1 });
  });

  test('comes by itself for what is short when its writer has had its time', async () => {
    const { totals } = await start();
    const written = await mesh.write('north', 'key', 'content');
    await mesh.settle(2_000);
    expect(mesh.holders(written)).toHaveLength(3);
    for (const node of mesh.nodes) node.contents.mayPull = () => false;
    // The writer has what it wanted, and does not think of more.
    mesh.change(() => mesh.control.add({ type: 'namespace', ns: 'docs', policy: { replicas: 5 } }));
    await mesh.settle(4_000);
    expect(totals()).toMatchObject({ subjects: 0 });
    await mesh.settle(atWorkMs);
    expect(totals()).toMatchObject({ subjects: 1, under: 1 });
  });

  test('does not come where all was copied in that time', async () => {
    const { auditor, totals } = await start();
    for (const node of mesh.nodes) node.contents.mayPull = () => false;
    const written = await mesh.write('north', 'key', 'content');
    auditor.placementChanged();
    await mesh.settle(3_000);
    expect(totals()).toMatchObject({ subjects: 0 });
    for (const node of mesh.nodes) {
      node.contents.mayPull = () => true;
      if (node.replication.shouldHold(written))
        await node.contents.want([{ content: written.content, subject: { ...written } }]);
    }
    await mesh.settle(60_000);
    expect(mesh.holders(written)).toHaveLength(3);
    expect(totals()).toMatchObject({ subjects: 0 });
  });

  test('sees to what was copied and has lost a copy, however new it is', async () => {
    const { totals } = await start();
    const written = await mesh.write('north', 'key', 'content');
    await mesh.settle(2_000);
    const holder = mesh.holders(written).find((name) => name !== 'north') as string;
    await mesh.get(holder).stop();
    await mesh.settle(3_000);
    expect(totals()).toMatchObject({ subjects: 1, under: 1 });
  });
});
