import { afterEach, describe, expect, test } from 'vitest';
import type { WrittenVersion } from '../../../../src/node/api.ts';
import { Mesh, unwrap } from '../../../support/mesh.ts';

const names = ['alice', 'bob', 'carol'] as const;
const meshes: Mesh[] = [];

async function start(all: readonly string[] = names, coordinators: readonly string[] = names): Promise<Mesh> {
  const mesh = await Mesh.start(all, 'confirmations', coordinators);
  meshes.push(mesh);
  return mesh;
}

afterEach(async () => {
  for (const mesh of meshes.splice(0)) await mesh.stop();
});

const nodeOf = (mesh: Mesh, name: string) => mesh.get(name).node;
const put = (mesh: Mesh, name: string, key: string, text: string, options: object = {}) =>
  mesh.run(nodeOf(mesh, name).put({ ns: 'test', key, author: 'admin', body: [Buffer.from(text)], ...options }));
const quorum = { commit: 'quorum' } as const;
const counted = (mesh: Mesh, name: string, what: 'hints' | 'records', outcome: string): number =>
  mesh.get(name).metrics.value(`anabranch_gossip_${what}_total`, { outcome });
const confirmedHead = (mesh: Mesh, name: string, key: string) => mesh.graph(name, key).confirmedHead;

/** Waits until all these nodes have this confirmed head. */
async function confirmedOn(mesh: Mesh, on: readonly string[], key: string, version: string): Promise<void> {
  await mesh.until(() => on.every((name) => nodeOf(mesh, name).graph({ ns: 'test', key }).ok));
  await mesh.until(() => on.every((name) => confirmedHead(mesh, name, key) === version));
}

describe('automatic confirmation', () => {
  test('confirms what was written on any node, everywhere, without anyone asking', async () => {
    const mesh = await start([...names, 'dave']);
    const written = await mesh.put('dave', 'plan', 'one');
    expect(written.state).toBe('provisional');
    await confirmedOn(mesh, [...names, 'dave'], 'plan', written.version);
    const next = await mesh.put('alice', 'plan', 'two');
    expect(next.parents).toEqual([written.version]);
    await confirmedOn(mesh, [...names, 'dave'], 'plan', next.version);
    const status = await mesh.run(nodeOf(mesh, 'dave').status());
    expect(status).toMatchObject({ confirmed: 2, provisional: 0 });
    const waiting = { pending: 0, waitingForCopies: 0 };
    expect(status.quorum).toEqual({ epoch: 1, coordinators: 3, reachable: 3, available: true, ...waiting });
    const events = await mesh.eventsOf('dave', 'confirmed');
    expect(events.map(({ data }) => data)).toEqual([
      { ns: 'test', key: 'plan', version: written.version, position: 1 },
      { ns: 'test', key: 'plan', version: next.version, position: 2 },
    ]);
  });

  test('is the node’s own affair when it is the only coordinator', async () => {
    const mesh = await start(['alice'], ['alice']);
    const written = await mesh.put('alice', 'plan', 'one');
    await confirmedOn(mesh, ['alice'], 'plan', written.version);
  });

  test('goes on while an object is written faster than copies of its contents are proved', async () => {
    const mesh = await start();
    const written: string[] = [];
    for (let index = 0; index < 100; index += 1) {
      written.push((await mesh.put('alice', 'plan', `text ${index}`)).version);
      await mesh.settle(40);
    }
    const confirmed = written.indexOf(confirmedHead(mesh, 'alice', 'plan') ?? '');
    expect(confirmed).toBeGreaterThan(30);
    await confirmedOn(mesh, names, 'plan', written.at(-1) ?? '');
  });

  test('goes on after a restart with what was not confirmed', async () => {
    const mesh = await start();
    mesh.partition(['alice'], ['bob', 'carol']);
    await mesh.settle();
    const written: WrittenVersion[] = [];
    for (let index = 0; index < 20; index += 1) written.push(await mesh.put('alice', `key-${index}`, 'text'));
    await mesh.settle();
    expect((await mesh.run(nodeOf(mesh, 'alice').status())).quorum).toMatchObject({ available: false, pending: 20 });
    await mesh.crash('alice');
    await mesh.startNode('alice');
    mesh.heal();
    for (const { key, version } of written) await confirmedOn(mesh, names, key, version);
  });
});

describe('a write that asks for a quorum', () => {
  test('is answered as confirmed, and reads so', async () => {
    const mesh = await start();
    const written = unwrap(await put(mesh, 'bob', 'plan', 'one', quorum));
    expect(written.state).toBe('confirmed');
    const read = unwrap(nodeOf(mesh, 'bob').read({ ns: 'test', key: 'plan', mode: 'confirmed_only' }));
    expect(read).toMatchObject({ version: written.version, state: 'confirmed', newer: null });
  });

  test('goes to a majority with the votes on it, and to the others with its certificate', async () => {
    const mesh = await start();
    const sent = () => names.reduce((sum, name) => sum + counted(mesh, name, 'hints', 'sent'), 0);
    const before = sent();
    const written = unwrap(await put(mesh, 'bob', 'plan', 'one', quorum));
    await mesh.settle(2_000);
    for (const name of names) {
      expect(confirmedHead(mesh, name, 'plan')).toBe(written.version);
      expect(await mesh.text(name, 'plan')).toBe('one');
    }
    expect(names.map((name) => counted(mesh, name, 'records', 'new')).toSorted()).toEqual([0, 0, 1]);
    expect(sent() - before).toBe(1);
  });

  test('is counted by everybody who comes to have it for confirmed', async () => {
    const mesh = await start();
    for (let at = 0; at < 6; at += 1) unwrap(await put(mesh, 'bob', `plan-${at}`, 'one', quorum));
    await mesh.settle(2_000);
    const counts = names.map((name) => mesh.get(name).metrics.value('anabranch_confirmed_heads_total', {}));
    expect(counts).toEqual([6, 6, 6]);
  });

  test('reaches everybody soon though its proposer is gone before it told of it', async () => {
    let lost = 0;
    for (let at = 0; at < 6; at += 1) {
      const mesh = await start();
      unwrap(await put(mesh, 'bob', `plan-${at}`, 'one', quorum));
      const knowing = names.filter((name) => mesh.heads(name, `plan-${at}`).length > 0);
      const proposer = knowing.find((name) => name !== 'bob');
      if (proposer !== undefined && knowing.length === 2) {
        lost += 1;
        await mesh.crash(proposer);
        await mesh.settle(1_500);
        const third = names.find((name) => !knowing.includes(name)) as string;
        expect(mesh.heads(third, `plan-${at}`)).toHaveLength(1);
      }
    }
    expect(lost).toBeGreaterThan(0);
  });

  test('is told of at once when others than coordinators listen', async () => {
    const mesh = await start([...names, 'dave']);
    unwrap(await put(mesh, 'bob', 'plan', 'one', quorum));
    await mesh.settle(200);
    expect(counted(mesh, 'dave', 'records', 'new')).toBe(1);
  });

  test('is told of after half a second when it is not confirmed', async () => {
    const mesh = await start();
    const base = unwrap(await put(mesh, 'alice', 'plan', 'base', quorum));
    unwrap(await put(mesh, 'alice', 'plan', 'next', quorum));
    await mesh.settle(2_000);
    const answer = await put(mesh, 'bob', 'plan', 'beside it', { ...quorum, parents: [base.version] });
    const branch = answer.ok ? '' : (answer.error.detail?.version as string);
    const knowing = () => names.filter((name) => mesh.heads(name, 'plan').some((head) => head === branch));
    await mesh.settle(300);
    expect(knowing().length).toBeLessThan(3);
    await mesh.settle(400);
    expect(knowing()).toEqual(names);
  });

  test('is refused with its version when it does not descend from the confirmed head, and stays as a branch', async () => {
    const mesh = await start();
    const base = unwrap(await put(mesh, 'alice', 'plan', 'base', quorum));
    const next = unwrap(await put(mesh, 'alice', 'plan', 'next', quorum));
    const answer = await put(mesh, 'bob', 'plan', 'beside it', { ...quorum, parents: [base.version] });
    if (answer.ok) throw new Error('it was confirmed');
    expect(answer.error.code).toBe('not_a_descendant');
    const branch = answer.error.detail?.version as string;
    expect(mesh.graph('bob', 'plan')).toMatchObject({
      heads: [next.version, branch].sort(),
      confirmedHead: next.version,
    });
    const read = unwrap(nodeOf(mesh, 'bob').read({ ns: 'test', key: 'plan', version: branch }));
    expect(read.state).toBe('provisional');
    expect(unwrap(nodeOf(mesh, 'bob').read({ ns: 'test', key: 'plan', version: base.version })).state).toBe(
      'confirmed',
    );
  });

  test('that lost a race is one of two: one is confirmed, the other says that it is not', async () => {
    const mesh = await start();
    const answers = await Promise.all(
      names
        .map((name) =>
          nodeOf(mesh, name).put({ ns: 'test', key: 'plan', author: 'admin', body: [Buffer.from(name)], ...quorum }),
        )
        .map((answer) => mesh.run(answer)),
    );
    expect(answers.filter(({ ok }) => ok)).toHaveLength(1);
    for (const answer of answers) if (!answer.ok) expect(answer.error.code).toBe('not_a_descendant');
    await mesh.settle(5_000);
    const heads = new Set(names.map((name) => confirmedHead(mesh, name, 'plan')));
    expect(heads.size).toBe(1);
    for (const name of names) expect((await mesh.run(nodeOf(mesh, name).status())).quorum.pending).toBe(0);
  });

  test('says at once that no quorum is there on the minority’s side, and keeps the version as provisional', async () => {
    const mesh = await start();
    mesh.partition(['alice'], ['bob', 'carol']);
    await mesh.settle();
    const before = mesh.clock.monotonicMs();
    const answer = await put(mesh, 'alice', 'plan', 'one', quorum);
    expect(mesh.clock.monotonicMs() - before).toBeLessThan(1_000);
    if (answer.ok) throw new Error('it was confirmed');
    expect(answer.error.code).toBe('quorum_unavailable');
    const version = answer.error.detail?.version as string;
    const read = unwrap(nodeOf(mesh, 'alice').read({ ns: 'test', key: 'plan' }));
    expect(read).toMatchObject({ version, state: 'provisional' });
    const refused = nodeOf(mesh, 'alice').read({ ns: 'test', key: 'plan', mode: 'confirmed_only' });
    expect(refused).toMatchObject({ ok: false, error: { code: 'not_confirmed' } });
    mesh.heal();
    await confirmedOn(mesh, names, 'plan', version);
    const quorums = (await mesh.eventsOf('alice', 'quorum')).map(({ data }) => data);
    expect(quorums).toMatchObject([{ available: true }, { available: false, reachable: 1 }, { available: true }]);
  });
});

describe('branches of a partition', () => {
  test('are one confirmed and one kept, and their merge is confirmed', async () => {
    const mesh = await start();
    const base = unwrap(await put(mesh, 'alice', 'plan', 'base', quorum));
    await confirmedOn(mesh, names, 'plan', base.version);
    mesh.partition(['alice'], ['bob', 'carol']);
    await mesh.settle();
    const lost = await mesh.put('alice', 'plan', 'minority');
    const later = await mesh.put('alice', 'plan', 'minority again');
    expect(later.parents).toEqual([lost.version]);
    const won = unwrap(await put(mesh, 'bob', 'plan', 'majority', quorum));
    expect(confirmedHead(mesh, 'alice', 'plan')).toBe(base.version);
    mesh.heal();
    await confirmedOn(mesh, names, 'plan', won.version);
    await mesh.settle(40_000);
    for (const name of names) {
      const graph = mesh.graph(name, 'plan');
      expect(graph).toMatchObject({ preferred: won.version, confirmedHead: won.version });
      expect([...graph.heads].sort()).toEqual([won.version, later.version].sort());
      expect(graph.versions.map(({ version, state }) => [version, state])).toContainEqual([
        lost.version,
        'provisional',
      ]);
      expect(await mesh.eventsOf(name, 'conflict')).toHaveLength(1);
      expect((await mesh.run(nodeOf(mesh, name).status())).quorum.pending).toBe(0);
    }
    const read = unwrap(nodeOf(mesh, 'alice').read({ ns: 'test', key: 'plan' }));
    expect(read).toMatchObject({ version: won.version, state: 'confirmed', newer: later.version });
    const asked = await mesh.run(nodeOf(mesh, 'alice').confirm({ ns: 'test', key: 'plan', version: later.version }));
    expect(asked).toMatchObject({ ok: false, error: { code: 'not_a_descendant', detail: { version: later.version } } });
    const merged = await mesh.put('carol', 'plan', 'both', [won.version, later.version]);
    await confirmedOn(mesh, names, 'plan', merged.version);
    expect(mesh.graph('alice', 'plan').versions.every(({ state }) => state === 'confirmed')).toBe(true);
  });

  test('are read by the newest head with provisional_allowed, and extended by who wrote them', async () => {
    const mesh = await start();
    const base = unwrap(await put(mesh, 'alice', 'plan', 'base', quorum));
    mesh.partition(['alice'], ['bob', 'carol']);
    await mesh.settle();
    const first = await mesh.put('alice', 'plan', 'first');
    const second = await mesh.put('alice', 'plan', 'second');
    const other = unwrap(await put(mesh, 'alice', 'plan', 'by another', { author: 'someone else' }));
    expect(second.parents).toEqual([first.version]);
    expect(other.parents).toEqual([base.version]);
    const third = await mesh.put('alice', 'plan', 'third');
    expect(third.parents).toEqual([second.version]);
    const alice = nodeOf(mesh, 'alice');
    expect(unwrap(alice.read({ ns: 'test', key: 'plan' }))).toMatchObject({ version: base.version });
    expect(unwrap(alice.read({ ns: 'test', key: 'plan', mode: 'provisional_allowed' }))).toMatchObject({
      version: third.version,
      state: 'provisional',
    });
  });
});

describe('writes that name no parents', () => {
  test('go on from the writer’s own unconfirmed versions after a restart, and not from others’', async () => {
    const mesh = await start();
    const base = unwrap(await put(mesh, 'alice', 'plan', 'base', quorum));
    await confirmedOn(mesh, names, 'plan', base.version);
    await mesh.stopNode('carol');
    mesh.partition(['alice', 'bob'], ['carol']);
    mesh.sim.crash('bob');
    await mesh.settle();
    const first = await mesh.put('alice', 'plan', 'first');
    await mesh.stopNode('alice');
    await mesh.startNode('alice');
    const second = await mesh.put('alice', 'plan', 'second');
    expect(second.parents).toEqual([first.version]);
    mesh.heal();
    await mesh.startNode('bob');
    await mesh.startNode('carol');
    await confirmedOn(mesh, names, 'plan', second.version);
    const third = await mesh.put('bob', 'plan', 'third');
    expect(third.parents).toEqual([second.version]);
  });
});

describe('asking for a confirmation', () => {
  test('gives the certificate, also of an ancestor of the confirmed head', async () => {
    const mesh = await start();
    const first = unwrap(await put(mesh, 'alice', 'plan', 'one', quorum));
    const second = unwrap(await put(mesh, 'alice', 'plan', 'two', quorum));
    const asked = unwrap(
      await mesh.run(nodeOf(mesh, 'alice').confirm({ ns: 'test', key: 'plan', version: first.version })),
    );
    expect(asked).toMatchObject({ version: first.version, confirmedHead: second.version, position: 2 });
    expect(asked.certificate.statement.head).toBe(second.version);
  });

  test('is refused for what is not there', async () => {
    const mesh = await start(['alice'], ['alice']);
    const alice = nodeOf(mesh, 'alice');
    const confirm = (input: object) => mesh.run(alice.confirm({ ns: 'test', key: 'plan', ...input }));
    expect(await confirm({})).toMatchObject({ error: { code: 'not_found' } });
    await mesh.put('alice', 'plan', 'one');
    expect(await confirm({ version: 'x' })).toMatchObject({ error: { code: 'invalid_version' } });
    expect(await confirm({ version: 'a'.repeat(52) })).toMatchObject({ error: { code: 'version_not_found' } });
    expect(await confirm({ ns: 'B' })).toMatchObject({ error: { code: 'invalid_namespace' } });
  });
});
