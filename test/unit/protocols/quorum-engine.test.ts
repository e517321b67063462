import { afterEach, describe, expect, test } from 'vitest';
import { type Certificate, linkHash } from '../../../crdt/certificate.ts';
import { stickyOrder } from '../../../protocols/quorum/sticky-order.ts';
import { coordinatorOf, headOf, QuorumMesh, type QuorumNode, registerOf } from '../../support/quorum-mesh.ts';
import { testCluster } from '../../support/versions.ts';

let mesh: QuorumMesh;

afterEach(async () => {
  expect(mesh.faults()).toEqual([]);
  await mesh.stop();
});

const register = registerOf('plan');
const [a, ab, abc] = [headOf('a'), headOf('a', 'b'), headOf('a', 'b', 'c')];

/** The coordinators' names in the order in which they propose for a register. */
function order(names: readonly string[], of = register): string[] {
  const ranked = stickyOrder(of, names.map(coordinatorOf));
  return ranked.map(({ nodeId }) => names.find((name) => coordinatorOf(name).nodeId === nodeId) as string);
}

const three = ['north', 'east', 'south'] as const;

test('confirms heads one after the other, each linked to the one before', async () => {
  mesh = await QuorumMesh.start(three);
  const first = await mesh.node('north').propose(register, a);
  const second = await mesh.node('east').propose(register, ab);
  if (first.kind !== 'confirmed' || second.kind !== 'confirmed') throw new Error('not confirmed');
  expect(first.certificate.statement).toMatchObject({ register, epoch: 1, position: 1, head: a, previous: null });
  const previous = linkHash(testCluster, register, first.certificate.statement);
  expect(second.certificate.statement).toMatchObject({ register, position: 2, head: ab, previous });
});

test('a cluster of one coordinator confirms by itself', async () => {
  mesh = await QuorumMesh.start(['north']);
  expect(await mesh.node('north').propose(register, a)).toMatchObject({ kind: 'confirmed' });
});

test('answers a head that is held with the certificate there is, and refuses one that does not follow', async () => {
  mesh = await QuorumMesh.start(three);
  await mesh.node('north').propose(register, a);
  await mesh.node('north').propose(register, ab);
  expect(await mesh.node('south').propose(register, a)).toMatchObject({
    kind: 'confirmed',
    certificate: { statement: { position: 2, head: ab } },
  });
  expect(await mesh.node('south').propose(register, headOf('a', 'z'))).toMatchObject({
    kind: 'refused',
    refusal: { code: 'not_a_descendant' },
    certificate: { statement: { head: ab } },
  });
});

test('a node that is no coordinator has its heads confirmed by the one whose turn it is', async () => {
  mesh = await QuorumMesh.start([...three, 'agent'], 3);
  const outcome = await mesh.node('agent').propose(register, a);
  if (outcome.kind !== 'confirmed') throw new Error('not confirmed');
  const proposer = mesh.node(order(three)[0] as string).nodeId;
  expect(outcome.certificate.statement.ballot.proposer.split('.')[0]).toBe(proposer);
  expect(mesh.node('agent').book.latest(register)).toEqual(outcome.certificate);
});

test('the next in order proposes when the first cannot be reached', async () => {
  mesh = await QuorumMesh.start([...three, 'agent'], 3);
  const [first, second] = order(three) as [string, string];
  mesh.hub.partition(mesh.peers('agent'), mesh.peers(first));
  await mesh.clock.advance(100);
  const outcome = await mesh.node('agent').propose(register, a);
  if (outcome.kind !== 'confirmed') throw new Error('not confirmed');
  expect(outcome.certificate.statement.ballot.proposer.split('.')[0]).toBe(mesh.node(second).nodeId);
});

test('a head takes one round trip: the first one at its own coordinator, and each that follows', async () => {
  mesh = await QuorumMesh.start(three, 3, { linkMs: 100, flushDelayMs: 0 });
  const proposer = mesh.node(order(three)[0] as string);
  const timed = async (head: string): Promise<number> => {
    const startMs = mesh.clock.monotonicMs();
    await proposer.propose(register, head);
    return mesh.clock.monotonicMs() - startMs;
  };
  // The first one opens the streams as well.
  const others = Array.from({ length: 20 }, (_, at) => registerOf(`o${at}`));
  const other = others.find((each) => order(three, each)[0] === order(three)[0]) as string;
  await proposer.propose(other, a);
  expect(await timed(a)).toBe(200);
  expect(await timed(ab)).toBe(200);
  expect(await timed(abc)).toBe(200);
});

test('a minority answers at once that there is no quorum, and the head is confirmed after the partition', async () => {
  mesh = await QuorumMesh.start(three);
  mesh.hub.partition(mesh.peers('north'), mesh.peers('east', 'south'));
  await mesh.clock.advance(100);
  const startMs = mesh.clock.monotonicMs();
  expect(await mesh.node('north').propose(register, a)).toEqual({ kind: 'unavailable', reason: 'no_majority' });
  expect(mesh.clock.monotonicMs() - startMs).toBe(0);
  expect(await mesh.node('east').propose(register, headOf('b'))).toMatchObject({ kind: 'confirmed' });
  mesh.hub.heal();
  await mesh.clock.advance(100);
  expect(await mesh.node('north').propose(register, a)).toMatchObject({ kind: 'refused' });
});

test('gives up when the time is over although a majority seems connected', async () => {
  mesh = await QuorumMesh.start(three);
  for (const name of ['east', 'south']) {
    mesh.hub.hold(mesh.node(name).peerId, mesh.node('north').peerId);
    mesh.hub.hold(mesh.node('north').peerId, mesh.node(name).peerId);
  }
  expect(await mesh.node('north').propose(register, a, 500)).toEqual({ kind: 'unavailable', reason: 'deadline' });
});

test('rejects with the reason of its caller', async () => {
  mesh = await QuorumMesh.start(three);
  const controller = new AbortController();
  const proposed = mesh.node('north').engine.propose(register, a, { signal: controller.signal });
  const reason = new Error('enough');
  controller.abort(reason);
  await expect(mesh.run(proposed)).rejects.toBe(reason);
});

test('a coordinator votes only for what it holds', async () => {
  mesh = await QuorumMesh.start(three);
  const [first, second, third] = order(three) as [string, string, string];
  mesh.node(second).withheld.add(a);
  expect(await mesh.node(first).propose(register, a)).toMatchObject({ kind: 'confirmed' });
  mesh.node(second).withheld.add(ab);
  mesh.node(third).withheld.add(ab);
  expect(await mesh.node(first).propose(register, ab, 2_000)).toMatchObject({ kind: 'unavailable' });
  mesh.node(third).withheld.clear();
  expect(await mesh.node(first).propose(register, ab)).toMatchObject({ kind: 'confirmed' });
  // Each was asked to fetch it from the one who proposed.
  expect(mesh.node(third).held.every(({ from }) => from === mesh.node(first).peerId)).toBe(true);
});

test('what a fresh head names goes along with the votes on it, and nobody has to ask for it', async () => {
  mesh = await QuorumMesh.start([...three, 'agent'], 3);
  for (const name of three) mesh.node(name).withheld.add(a);
  const proposed = mesh.node('agent').engine.propose(register, a, { isFresh: true });
  expect(await mesh.run(proposed)).toMatchObject({ kind: 'confirmed' });
  await mesh.clock.advance(100);
  const [first, ...others] = order(three) as [string, string, string];
  expect(mesh.node(first).takenIn).toEqual([{ head: a, from: mesh.node('agent').peerId }]);
  // One of them is asked, which makes a majority.
  expect(others.flatMap((name) => mesh.node(name).takenIn)).toEqual([{ head: a, from: mesh.node(first).peerId }]);
});

describe('what came along and is still on its way to disk', () => {
  const arrivalMs = 1_000;
  /** An agent's fresh head at a proposer whose disk takes a second for it. */
  const proposed = async (head: string) => {
    const startMs = mesh.clock.monotonicMs();
    const outcome = await mesh.run(mesh.node('agent').engine.propose(register, head, { isFresh: true }));
    return { outcome, ms: mesh.clock.monotonicMs() - startMs };
  };

  test('is voted on in the first round, and goes on to the others with the question', async () => {
    mesh = await QuorumMesh.start([...three, 'agent'], 3);
    const [first, ...others] = order(three) as [string, string, string];
    for (const name of three) mesh.node(name).withheld.add(a);
    mesh.node(first).arrivalMs = arrivalMs;
    const { outcome, ms } = await proposed(a);
    expect(outcome).toMatchObject({ kind: 'confirmed' });
    expect(ms).toBeLessThan(arrivalMs);
    expect(mesh.node(first).held).toEqual([]);
    expect(others.flatMap((name) => mesh.node(name).takenIn)).toEqual([{ head: a, from: mesh.node(first).peerId }]);
  });

  test('is voted on where a promise is at hand, if it is known to follow the head there is', async () => {
    mesh = await QuorumMesh.start([...three, 'agent'], 3);
    const [first] = order(three) as [string];
    await proposed(a);
    mesh.node(first).withheld.add(ab);
    mesh.node(first).arrivalMs = arrivalMs;
    const { outcome, ms } = await proposed(ab);
    expect(outcome).toMatchObject({ kind: 'confirmed' });
    expect(ms).toBeLessThan(arrivalMs);
    expect(mesh.node(first).held.map(({ value }) => value.head)).not.toContain(ab);
  });

  test('is waited for where that cannot be told, or the round has to be prepared', async () => {
    mesh = await QuorumMesh.start([...three, 'agent'], 3);
    const [first] = order(three) as [string];
    await proposed(a);
    mesh.node(first).arrivalMs = arrivalMs;
    const other = headOf('b');
    mesh.node(first).withheld.add(other);
    const refused = await proposed(other);
    expect(refused.outcome).toMatchObject({ kind: 'refused' });
    expect(refused.ms).toBeGreaterThanOrEqual(arrivalMs);
    mesh.node(first).crash();
    await mesh.node(first).start();
    await mesh.clock.advance(1_000);
    mesh.node(first).withheld.add(ab);
    const { outcome, ms } = await proposed(ab);
    expect(outcome).toMatchObject({ kind: 'confirmed' });
    expect(ms).toBeGreaterThanOrEqual(arrivalMs);
  });

  test('is proposed to nobody when it gets lost there, and the next coordinator proposes it', async () => {
    mesh = await QuorumMesh.start([...three, 'agent'], 3);
    const [first, second, third] = order(three) as [string, string, string];
    mesh.node(first).withheld.add(a);
    mesh.node(first).unflushable.add(a);
    mesh.node(first).arrivalMs = arrivalMs;
    const { outcome } = await proposed(a);
    expect(outcome).toMatchObject({ kind: 'confirmed' });
    const [certificate] = mesh.certificates();
    expect(certificate?.statement.ballot.proposer.split('.')[0]).toBe(mesh.node(second).nodeId);
    expect(mesh.node(third).takenIn).toEqual([{ head: a, from: mesh.node(second).peerId }]);
  });
});

test('nothing goes along with a head that others can be expected to hold', async () => {
  mesh = await QuorumMesh.start(three);
  expect(await mesh.node(three[0] as string).propose(register, a)).toMatchObject({ kind: 'confirmed' });
  await mesh.clock.advance(100);
  expect(three.flatMap((name) => mesh.node(name).takenIn)).toEqual([]);
});

test('a head of a group that coordinators cannot take in fails none of the others', async () => {
  mesh = await QuorumMesh.start([...three, 'agent'], 3);
  const lost = headOf('lost');
  for (const name of three) {
    mesh.node(name).withheld.add(lost);
    mesh.node(name).unstorable.add(lost);
  }
  const { engine } = mesh.node('agent');
  const outcomes = await mesh.run(
    Promise.all(
      Array.from({ length: 12 }, (_, at) =>
        engine.propose(registerOf(`r${at}`), at === 5 ? lost : a, { isFresh: true, timeoutMs: 4_000 }),
      ),
    ),
  );
  expect(outcomes.map(({ kind }) => kind)).toEqual(
    Array.from({ length: 12 }, (_, at) => (at === 5 ? 'unavailable' : 'confirmed')),
  );
});

test('what came with a head and was lost on its way to disk is not voted for', async () => {
  mesh = await QuorumMesh.start([...three, 'agent'], 3);
  const [first, second, third] = order(three) as [string, string, string];
  for (const name of [second, third]) {
    mesh.node(name).withheld.add(a);
    mesh.node(name).unflushable.add(a);
  }
  const proposed = mesh.node('agent').engine.propose(register, a, { isFresh: true, timeoutMs: 2_000 });
  expect(await mesh.run(proposed)).toMatchObject({ kind: 'unavailable' });
  expect(mesh.node(second).takenIn).not.toEqual([]);
  expect(mesh.certificates()).toEqual([]);
  mesh.node(third).unflushable.clear();
  mesh.node(third).withheld.clear();
  expect(await mesh.node(first).propose(register, a)).toMatchObject({ kind: 'confirmed' });
});

test('many registers at once share messages and flushes', async () => {
  mesh = await QuorumMesh.start([...three, 'agent'], 3, { flushDelayMs: 2 });
  const agent = mesh.node('agent');
  const startMs = mesh.clock.monotonicMs();
  const outcomes = await mesh.run(
    Promise.all(Array.from({ length: 600 }, (_, at) => agent.engine.propose(registerOf(`r${at}`), a))),
  );
  expect(outcomes.filter(({ kind }) => kind === 'confirmed')).toHaveLength(600);
  expect(mesh.clock.monotonicMs() - startMs).toBeLessThan(500);
});

test('proposals of every coordinator at once for one register all end, and make one chain', async () => {
  mesh = await QuorumMesh.start(three);
  const engines = three.map((name) => mesh.node(name).engine);
  const outcomes = await mesh.run(
    Promise.all(['a', 'b', 'c'].map((word, at) => engines[at]?.propose(register, headOf(word)))),
  );
  expect(outcomes.map((outcome) => outcome?.kind).sort()).toEqual(['confirmed', 'refused', 'refused']);
});

test('too many proposals for one register are turned away', async () => {
  mesh = await QuorumMesh.start(['north']);
  const heads = Array.from({ length: 70 }, (_, at) => headOf(`h${at}`));
  const outcomes = await mesh.run(Promise.all(heads.map((head) => mesh.node('north').engine.propose(register, head))));
  expect(outcomes.filter((outcome) => outcome.kind === 'unavailable')).toEqual(
    Array.from({ length: 6 }, () => ({ kind: 'unavailable', reason: 'busy' })),
  );
});

test('votes survive a crash of every coordinator, and the next proposer certifies what it finds', async () => {
  mesh = await QuorumMesh.start(three);
  await mesh.node('north').propose(register, a);
  for (const node of mesh.nodes.values()) node.crash();
  for (const node of mesh.nodes.values()) {
    node.book.kept.length = 0;
    await node.start();
  }
  await mesh.clock.advance(100);
  expect(await mesh.node('south').propose(register, headOf('b'))).toMatchObject({ kind: 'refused' });
  expect(await mesh.node('south').propose(register, ab)).toMatchObject({
    kind: 'confirmed',
    certificate: { statement: { position: 2 } },
  });
});

/** Who gave the other vote under the last certificate. */
function voterBeside(proposer: string): QuorumNode {
  const signatures = mesh.certificates().at(-1)?.signatures ?? [];
  const name = three.find(
    (each) => each !== proposer && signatures.some(([nodeId]) => nodeId === mesh.node(each).nodeId),
  );
  return mesh.node(name as string);
}

test('a coordinator on an older disk is rejected, and says so itself from then on', async () => {
  mesh = await QuorumMesh.start(three);
  const [first, ...others] = order(three) as [string, string, string];
  await mesh.node(first).propose(register, a);
  const backups = new Map(others.map((name) => [name, mesh.node(name).kv.snapshot()]));
  await mesh.node(first).propose(register, ab);
  const victim = voterBeside(first);
  const third = others.find((name) => name !== victim.name) as string;
  await mesh.clock.advance(1_000);
  await victim.stop();
  victim.kv = victim.kv.restore(backups.get(victim.name) as ReturnType<typeof victim.kv.snapshot>, { unnoticed: true });
  await victim.start();
  // By then it is asked again, whoever answers faster.
  await mesh.clock.advance(6_000);
  expect(await mesh.node(first).propose(register, abc)).toMatchObject({ kind: 'confirmed' });
  await mesh.clock.advance(1_000);
  expect(mesh.node(first).engine.restoredCoordinators()).toEqual([victim.nodeId]);
  const last = mesh.node(first).book.kept.at(-1);
  expect(last?.signatures.map(([nodeId]) => nodeId)).not.toContain(victim.nodeId);
  // Without the third, one sound coordinator is no majority.
  await mesh.node(third).stop();
  await mesh.clock.advance(1_000);
  expect(await mesh.node(first).propose(register, headOf('a', 'b', 'c', 'd'))).toEqual({
    kind: 'unavailable',
    reason: 'no_majority',
  });
  await mesh.node(third).start();
});

test('who holds a certificate gives no vote on another head in its place, though it was never asked for one before', async () => {
  mesh = await QuorumMesh.start(three);
  const [first, ...others] = order(three) as [string, string, string];
  const forgotten = mesh.node(first).kv.snapshot();
  await mesh.node(first).propose(register, a);
  const voter = voterBeside(first);
  const third = others.find((name) => name !== voter.name) as string;
  await mesh.node(third).book.keep(mesh.certificates()[0] as Certificate);
  await voter.stop();
  await mesh.node(first).stop();
  mesh.node(first).kv = mesh.node(first).kv.restore(forgotten, { unnoticed: true });
  mesh.node(first).book.forget();
  await mesh.node(first).start();
  await mesh.clock.advance(1_000);
  expect(await mesh.node(first).propose(register, headOf('b'), 3_000)).toMatchObject({ kind: 'unavailable' });
  expect(mesh.node(third).log.lines.map(({ event }) => event)).toContain('quorum:against_certificate');
  await voter.start();
  await mesh.clock.advance(1_000);
  expect(mesh.faults()).toEqual([]);
});

test('a proposer that others got ahead of is outbid, and not taken for one that forgot', async () => {
  mesh = await QuorumMesh.start(three);
  const [first, second, third] = order(three) as [string, string, string];
  const keepLatest = async (...names: string[]): Promise<void> => {
    const latest = mesh.certificates().at(-1) as Certificate;
    for (const name of names) await mesh.node(name).book.keep(latest);
  };
  for (const head of [a, ab]) await mesh.node(first).propose(register, head);
  await keepLatest(second, third);
  mesh.hub.partition(mesh.peers(first), mesh.peers(second, third));
  await mesh.clock.advance(100);
  expect(await mesh.node(second).propose(register, abc)).toMatchObject({ kind: 'confirmed' });
  await mesh.node(third).book.keep(mesh.node(second).book.latest(register) as Certificate);
  mesh.hub.heal();
  await mesh.clock.advance(100);
  // Its promise is void, and it does not know.
  for (const [from, to] of [
    [third, first],
    [first, third],
  ] as const) {
    mesh.hub.hold(mesh.node(from).peerId, mesh.node(to).peerId);
  }
  const startMs = mesh.clock.monotonicMs();
  expect(await mesh.node(first).propose(register, headOf('a', 'b', 'd'))).toMatchObject({ kind: 'refused' });
  expect(mesh.clock.monotonicMs() - startMs).toBeLessThan(3_000);
  for (const name of three) expect(mesh.node(name).log.linesOf('quorum:against_certificate')).toEqual([]);
});

test('a coordinator whose directory was copied gives no vote', async () => {
  mesh = await QuorumMesh.start(three);
  await mesh.node('north').propose(register, a);
  const [first] = order(three) as [string];
  const victim = voterBeside(first);
  await victim.stop();
  victim.kv = victim.kv.restore(victim.kv.snapshot());
  await victim.start();
  await mesh.clock.advance(6_000);
  expect(await mesh.node(first).propose(register, ab)).toMatchObject({ kind: 'confirmed' });
  await mesh.clock.advance(1_000);
  expect(mesh.node(first).engine.restoredCoordinators()).toEqual([victim.nodeId]);
});

test('a coordinator whose disk fails gives no vote, and the others go on', async () => {
  mesh = await QuorumMesh.start(three);
  const [first, second] = order(three) as [string, string];
  mesh.node(second).kv.failTransactions('disk_full', 50);
  expect(await mesh.node(first).propose(register, a)).toMatchObject({ kind: 'confirmed' });
  mesh.node(second).kv.clearFault();
  expect(await mesh.node(first).propose(register, ab)).toMatchObject({ kind: 'confirmed' });
});

test('a proposer of an earlier epoch is told so, and one of a later epoch has its peers catch up', async () => {
  mesh = await QuorumMesh.start([...three, 'west'], 3);
  mesh.epochs.set(2, [...three, 'west'].map(coordinatorOf));
  const [first, second, third] = order(three) as [string, string, string];
  await mesh.node(first).propose(register, a);
  mesh.node(second).epoch = 2;
  mesh.node(third).epoch = 2;
  const stale = await mesh.run(mesh.node(first).engine.propose(register, ab, { timeoutMs: 500 }));
  expect(stale).toMatchObject({ kind: 'unavailable' });
  expect(mesh.node(first).aheadOf).toContain(2);
  for (const node of mesh.nodes.values()) node.epoch = 2;
  expect(await mesh.node(first).propose(register, ab)).toMatchObject({
    kind: 'confirmed',
    certificate: { statement: { epoch: 2, position: 2 } },
  });
});

test('carries every register over to a new set of coordinators, and a second time finds nothing to do', async () => {
  mesh = await QuorumMesh.start([...three, 'west'], 3);
  mesh.epochs.set(2, [...three, 'west'].map(coordinatorOf));
  const names = Array.from({ length: 1_100 }, (_, at) => registerOf(`c${at}`)).sort();
  const { engine } = mesh.node('north');
  expect((await mesh.run(Promise.all(names.map((name) => engine.propose(name, a))))).map(({ kind }) => kind)).toEqual(
    names.map(() => 'confirmed'),
  );
  for (const node of mesh.nodes.values()) node.epoch = 2;
  const { signal } = new AbortController();
  const steps: number[] = [];
  const onProgress = ({ carried }: { carried: number }): void => void steps.push(carried);
  const outcome = await mesh.run(mesh.node('west').engine.carry({ signal, onProgress }));
  expect(outcome).toEqual({ kind: 'complete', progress: { epoch: 2, after: expect.any(String), carried: 1_100 } });
  expect(steps.at(-1)).toBe(1_100);
  expect(steps.length).toBeGreaterThan(4);
  const again = mesh.node('west').book;
  expect(names.every((name) => again.latest(name)?.statement.epoch === 2)).toBe(true);
  expect(names.every((name) => again.latest(name)?.statement.position === 1)).toBe(true);
  await mesh.clock.advance(1_000);
  expect(await mesh.run(mesh.node('north').engine.carry({ signal }))).toMatchObject({ progress: { carried: 0 } });
});

test('a carry-over that is cut short goes on where it was', async () => {
  mesh = await QuorumMesh.start(three);
  mesh.epochs.set(2, ['north', 'east'].map(coordinatorOf));
  const names = Array.from({ length: 600 }, (_, at) => registerOf(`k${at}`)).sort();
  await mesh.run(Promise.all(names.map((name) => mesh.node('north').engine.propose(name, a))));
  for (const node of mesh.nodes.values()) node.epoch = 2;
  const { signal } = new AbortController();
  let cut = false;
  const onProgress = (): void => {
    if (!cut) mesh.hub.partition(mesh.peers('north'), mesh.peers('east'));
    cut = true;
  };
  const first = await mesh.run(mesh.node('north').engine.carry({ signal, onProgress }));
  expect(first).toMatchObject({ kind: 'unavailable', progress: { carried: 256, after: names[255] } });
  mesh.hub.heal();
  await mesh.clock.advance(1_000);
  const { after } = first.progress;
  const second = await mesh.run(mesh.node('north').engine.carry({ signal, after }));
  expect(second).toMatchObject({ kind: 'complete', progress: { carried: 600 - 256 } });
});
