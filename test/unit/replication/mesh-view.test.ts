import { afterEach, describe, expect, test, vi } from 'vitest';
import type { BlobHash, NodeId, VersionId } from '../../../crdt/ids.ts';
import type { PlannedView } from '../../../protocols/replicas/views.ts';
import { isOneAudit, mergeCopies, mergeDrains, mergePlans } from '../../../src/replication/mesh-merge.ts';
import { comparePlaces } from '../../../src/replication/plan.ts';
import { ReplicaMesh, type WrittenContent } from '../../support/replica-mesh.ts';

// Minutes of virtual time, on machines that may be busy.
vi.setConfig({ testTimeout: 60_000 });

let mesh: ReplicaMesh;
afterEach(() => mesh?.stop());

const coordinators = ['north', 'east', 'south'];
const start = async (): Promise<WrittenContent[]> => {
  mesh = await ReplicaMesh.start({
    nodes: { north: { dc: 'a' }, east: { dc: 'a' }, south: { dc: 'b' }, west: { dc: 'b' }, home: { dc: 'c' } },
    coordinators,
    policy: { replicas: 3, diversity: { dc: 2 } },
    repairDelayMs: 60_000,
  });
  const written: WrittenContent[] = [];
  for (let index = 0; index < 30; index += 1) written.push(await mesh.write('home', `key-${index}`, `text ${index}`));
  await mesh.settle(20_000);
  return written;
};
const viewOf = (name: string) => mesh.get(name).replication.mesh;
const idOf = (name: string) => mesh.get(name).nodeId;

describe('the view of the mesh', () => {
  test('is the same at every node, whether it is a coordinator or not', async () => {
    const written = await start();
    const audits = await mesh.run(viewOf('home').audit(30_000));
    expect(audits).toEqual({
      answers: coordinators.map((name) => ({ nodeId: idOf(name), answer: 'done' })).sort(byNode),
      unanswered: [],
    });
    for (const name of ['home', 'north']) {
      const { answers, unanswered } = await mesh.run(viewOf(name).status());
      expect(unanswered).toEqual([]);
      expect(sum(answers.map(({ answer }) => answer.auditor?.last?.totals.subjects ?? 0))).toBe(30);
      expect(sum(answers.map(({ answer }) => answer.auditor?.last?.totals.healthy ?? 0))).toBe(30);
    }
    for (const each of written) {
      for (const name of ['home', 'north']) {
        const { copies } = await mesh.run(viewOf(name).copies([each.manifest]));
        expect(copies[0]?.map(({ nodeId }) => mesh.named(nodeId)).sort()).toEqual(mesh.desired(each).sort());
        expect(copies[0]?.every(({ isProved, isSuspect }) => isProved && !isSuspect)).toBe(true);
      }
    }
  });

  test('names the coordinators that do not answer, and tells what the others know', async () => {
    await start();
    await mesh.get('south').stop();
    await mesh.settle(5_000);
    const { answers, unanswered } = await mesh.run(viewOf('west').status());
    expect(unanswered).toEqual([idOf('south')]);
    // The others have audited its slots meanwhile.
    expect(sum(answers.map(({ answer }) => answer.auditor?.last?.totals.subjects ?? 0))).toBe(30);
    for (const name of ['north', 'east']) await mesh.get(name).stop();
    await mesh.settle(1_000);
    expect((await mesh.run(viewOf('west').plan(10))).unanswered).toHaveLength(3);
    expect(await mesh.run(viewOf('west').preview({ change: leave('home'), after: undefined, movesMax: 9 }))).toBe(
      undefined,
    );
  });

  test('is of one audit again once the others have audited the slots of a coordinator that fell silent, or votes no more', async () => {
    await start();
    const accounts = async () => {
      const { answers } = await mesh.run(viewOf('west').status());
      return answers.map(({ nodeId, answer }) => {
        const { among = [], totals } = answer.auditor?.last ?? {};
        return { nodeId, among, subjects: totals?.subjects ?? 0 };
      });
    };
    await mesh.run(viewOf('west').audit(30_000));
    expect(isOneAudit(await accounts())).toBe(true);
    await mesh.get('south').stop();
    const silent = await accounts();
    expect(isOneAudit(silent)).toBe(false);
    expect(sum(silent.map(({ subjects }) => subjects))).toBeLessThan(30);
    await mesh.settle(5_000);
    const [north, east] = [idOf('north'), idOf('east')];
    const shared = await accounts();
    expect(shared.map(({ among }) => [...among].sort())).toEqual([[north, east].sort(), [north, east].sort()]);
    expect([isOneAudit(shared), sum(shared.map(({ subjects }) => subjects))]).toEqual([true, 30]);
    mesh.change(() => mesh.control.add({ type: 'roles', nodeId: east, roles: ['storage'] }));
    await mesh.settle(5_000);
    expect(await accounts()).toEqual([{ nodeId: north, among: [north], subjects: 30 }]);
  });

  test('lists what waits for a node at once, page by page, and what runs once its time is over', async () => {
    const written = await start();
    await mesh.get('home').stop();
    await mesh.settle(5_000);
    const due = written.filter((each) => mesh.desired(each).includes('home'));
    const whole = await mesh.run(viewOf('west').plan(1_000));
    expect(whole.pulls.map(({ key }) => key).sort()).toEqual(due.map(({ key }) => key).sort());
    for (const { isWaiting, waitsFor } of whole.pulls) {
      expect(isWaiting).toBe(true);
      expect(waitsFor.map(([node]) => node)).toEqual([idOf('home')]);
      expect(waitsFor[0]?.[1]).toBeGreaterThan(50_000);
      expect(waitsFor[0]?.[1]).toBeLessThan(60_000);
    }
    const paged: PlannedView[] = [];
    for (let isMore = true; isMore; ) {
      const page = await mesh.run(viewOf('west').plan(4, paged.at(-1)));
      paged.push(...page.pulls);
      isMore = page.isMore;
    }
    expect(paged.map(({ key }) => key)).toEqual(whole.pulls.map(({ key }) => key));
    for (const name of ['north', 'east', 'south', 'west']) mesh.get(name).contents.mayPull = () => false;
    await mesh.settle(60_000);
    const { pulls } = await mesh.run(viewOf('west').plan(1_000));
    expect(pulls).toHaveLength(due.length);
    expect(pulls.every(({ isWaiting, waitsFor }) => !isWaiting && waitsFor.length === 0)).toBe(true);
    for (const name of ['north', 'east', 'south', 'west']) mesh.get(name).contents.mayPull = () => true;
    await mesh.settle(60_000);
    expect((await mesh.run(viewOf('west').plan(1_000))).pulls).toEqual([]);
  });

  test('tells when a node that drains may be switched off, and not before its own writes are elsewhere', async () => {
    const written = await start();
    mesh.change(() => mesh.control.add({ type: 'drain', nodeId: idOf('west'), draining: true }));
    for (const node of mesh.nodes) node.contents.mayPull = () => false;
    const fresh = await mesh.write('west', 'late', 'a late write');
    const before = await mesh.run(viewOf('home').drain(idOf('west')));
    expect(before.progress).toMatchObject({ current: true });
    expect(before.progress?.remaining).toBeGreaterThan(0);
    expect(before.intents).toBe(1);
    for (const node of mesh.nodes) node.contents.mayPull = () => true;
    await mesh.settle(200_000);
    // The first look has copies proved that nobody had proved, the second counts them.
    await mesh.run(viewOf('home').drain(idOf('west')));
    const after = await mesh.run(viewOf('home').drain(idOf('west')));
    expect(after).toMatchObject({ intents: 0, unanswered: [], progress: { remaining: 0, bytes: 0, current: true } });
    for (const each of [...written, fresh]) {
      expect(mesh.holders(each).filter((name) => name !== 'west')).toEqual(expect.arrayContaining(mesh.desired(each)));
    }
    await mesh.get('west').stop();
    const gone = await mesh.run(viewOf('home').drain(idOf('west')));
    expect(gone).toMatchObject({ intents: undefined, unanswered: [idOf('west')] });
    expect(gone.progress?.current).toBe(false);
  });

  test('previews a change by what coordinators know, and is told the same again page after page', async () => {
    const written = await start();
    const due = written.filter((each) => mesh.desired(each).includes('home'));
    const question = { change: leave('home'), after: undefined, movesMax: 40 };
    const page = await mesh.run(viewOf('west').preview(question));
    expect(page?.totals).toMatchObject({ subjects: 30, moved: due.length, copies: due.length });
    expect(page?.moves.map(({ key }) => key).sort()).toEqual(due.map(({ key }) => key).sort());
    expect(page?.nodes.find(([node]) => node === idOf('home'))?.[3]).toBe(due.length);
    expect(page?.next).toBe(undefined);
    const joined = await mesh.run(
      viewOf('west').preview({
        ...question,
        change: { kind: 'join', node: 'a'.repeat(26) as NodeId, labels: {}, capacity: 20 },
      }),
    );
    expect(joined?.totals.copies).toBeGreaterThan(0);
  });

  test('tells a stranger nothing', async () => {
    const written = await start();
    mesh.change(() => mesh.control.add({ type: 'remove', nodeId: idOf('home') }));
    expect((await mesh.run(viewOf('home').status())).answers).toEqual([]);
    const manifests = written.map(({ manifest }) => manifest);
    expect((await mesh.run(viewOf('home').copies(manifests))).copies.flat()).toEqual([]);
    expect((await mesh.run(viewOf('home').audit(10))).answers).toEqual([]);
    expect(await mesh.run(viewOf('home').preview({ change: leave('west'), after: undefined, movesMax: 1 }))).toBe(
      undefined,
    );
  });
});

describe('answers of several coordinators', () => {
  const node = (letter: string) => letter.repeat(26) as NodeId;
  const pull = (size: number, to = node('a'), isWaiting = false): PlannedView => ({
    ns: 'docs',
    key: `k${size}`,
    version: 'a'.repeat(52) as VersionId,
    manifest: 'a'.repeat(52) as BlobHash,
    sizeBytes: size,
    to,
    from: [],
    provedCopies: 1,
    isWaiting,
    waitsFor: [],
  });

  test('make one plan in order, without what two of them order, and end where one may have more', () => {
    const sizes = (merged: ReturnType<typeof mergePlans>) => merged.pulls.map(({ sizeBytes }) => sizeBytes);
    const whole = mergePlans(
      [
        { pulls: [pull(1), pull(4), pull(2, node('a'), true)], isMore: false },
        { pulls: [pull(1), pull(3)], isMore: false },
      ],
      10,
    );
    expect(sizes(whole)).toEqual([1, 3, 4, 2]);
    expect(whole.isMore).toBe(false);
    const cut = mergePlans(
      [
        { pulls: [pull(1), pull(2)], isMore: true },
        { pulls: [pull(5)], isMore: false },
      ],
      10,
    );
    expect(sizes(cut)).toEqual([1, 2]);
    expect(cut.isMore).toBe(true);
    expect(sizes(mergePlans([{ pulls: [pull(1), pull(2)], isMore: false }], 1))).toEqual([1]);
    expect(comparePlaces(pull(1), pull(1))).toBe(0);
  });

  test('are of one audit when each shared the slots with exactly those who answer', () => {
    const [a, b, c] = [node('a'), node('b'), node('c')];
    expect(isOneAudit([])).toBe(true);
    expect(
      isOneAudit([
        { nodeId: a, among: [b, a] },
        { nodeId: b, among: [a, b] },
      ]),
    ).toBe(true);
    for (const among of [[a, b, c], [a], [a, a], [a, c]]) {
      expect(
        isOneAudit([
          { nodeId: a, among },
          { nodeId: b, among: [a, b] },
        ]),
      ).toBe(false);
    }
  });

  test('make one list of copies, with the latest proof and every suspicion', () => {
    const listed = { sizeBytes: 3, mark: 'listed' as const };
    const merged = mergeCopies([
      [
        { ...listed, nodeId: node('b'), provedMs: 5 },
        { ...listed, nodeId: node('a'), provedMs: undefined },
      ],
      [
        { ...listed, nodeId: node('b'), provedMs: 9 },
        { ...listed, nodeId: node('a'), provedMs: undefined, mark: 'suspect' },
        { ...listed, nodeId: node('c'), provedMs: undefined, mark: 'own' },
      ],
    ]);
    expect(merged).toEqual([
      { nodeId: node('a'), sizeBytes: 3, provedMs: undefined, isProved: false, isSuspect: true },
      { nodeId: node('b'), sizeBytes: 3, provedMs: 9, isProved: true, isSuspect: false },
      { nodeId: node('c'), sizeBytes: 3, provedMs: undefined, isProved: true, isSuspect: false },
    ]);
  });

  test('about a drain are believed of who asked the node and can read all, and the most cautious of them', () => {
    const view = (remaining: number, current: boolean, unreadable = 0) => {
      return { contents: 9, remaining, bytes: remaining, unreadable, current };
    };
    expect(mergeDrains([])).toBe(undefined);
    expect(mergeDrains([view(0, false), view(2, true), view(3, true)])).toEqual(view(3, true));
    expect(mergeDrains([view(0, false), view(4, false)])).toEqual(view(4, false));
    // Who cannot read every version is believed only when there is nobody else.
    expect(mergeDrains([view(5, true, 1), view(2, true), view(9, false)])).toEqual(view(2, true));
    expect(mergeDrains([view(0, true, 1), view(9, false)])).toEqual(view(0, true, 1));
  });
});

const leave = (name: string) => ({ kind: 'leave' as const, node: idOf(name) });
const sum = (numbers: readonly number[]) => numbers.reduce((total, each) => total + each, 0);
const byNode = (left: { nodeId: string }, right: { nodeId: string }) => (left.nodeId < right.nodeId ? -1 : 1);
