import { afterEach, describe, expect, test } from 'vitest';
import {
  batchOf,
  type Certificate,
  type Statement,
  signBatch,
  signStatement,
  verifyCertificate,
} from '../../../crdt/certificate.ts';
import { type AcceptedGroup, EarlyLearner } from '../../../protocols/quorum/early-learner.ts';
import type { VoteItem } from '../../../protocols/quorum/messages.ts';
import type { QuorumView } from '../../../protocols/quorum/register-kind.ts';
import { stickyOrder } from '../../../protocols/quorum/sticky-order.ts';
import { KvAcceptorStore } from '../../../src/node/confirmation/acceptor-store.ts';
import { MeshError } from '../../../src/ports/mesh-error.ts';
import { coordinatorOf, headOf, QuorumMesh, registerOf } from '../../support/quorum-mesh.ts';
import { actorOf, testCluster, testNode } from '../../support/versions.ts';

const three = ['north', 'east', 'south'] as const;
const register = registerOf('r');
const [a, ab] = [headOf('a'), headOf('a', 'b')];
const value = { position: 1, head: a, previous: null };
const ballot = { counter: 3, proposer: actorOf(testNode('north')) };
const statementOf = (of: string): Statement => ({ v: 1, register: of, epoch: 1, ...value, ballot });

describe('a coordinator that asks another to confirm', () => {
  let mesh: QuorumMesh;

  afterEach(async () => {
    expect(mesh.faults()).toEqual([]);
    await mesh.stop();
  });

  /** Names in the order in which they are asked. */
  const order = (names: readonly string[]): readonly string[] => {
    const coordinators = names.map(coordinatorOf);
    const ids = stickyOrder(register, coordinators).map(({ nodeId }) => nodeId);
    return names.toSorted((x, y) => ids.indexOf(coordinatorOf(x).nodeId) - ids.indexOf(coordinatorOf(y).nodeId));
  };

  /** Until everyone has proposed something, and has its streams. */
  const warm = async (names: readonly string[]): Promise<void> => {
    for (const at of Array(12).keys()) {
      for (const name of names) await mesh.node(name).propose(registerOf(`other ${at}`), a);
    }
    await mesh.clock.advance(1_000);
  };

  const timed = async (name: string, head: string) => {
    const startMs = mesh.clock.monotonicMs();
    const outcome = await mesh.node(name).propose(register, head);
    return { kind: outcome.kind, ms: mesh.clock.monotonicMs() - startMs };
  };

  test('of three has the answer after one way there and one back, also where the proposer has a promise', async () => {
    mesh = await QuorumMesh.start(three, 3, { linkMs: 100 });
    const [first, second] = order(three) as [string, string];
    await warm(three);
    for (const head of [a, ab]) {
      const { kind, ms } = await timed(second, head);
      expect(kind).toBe('confirmed');
      expect(ms).toBeGreaterThanOrEqual(200);
      expect(ms).toBeLessThan(300);
      expect(mesh.node(second).book.latest(register)?.statement.head).toBe(head);
      await mesh.clock.advance(1_000);
      // The proposer comes to the same by itself.
      expect(mesh.node(first).book.latest(register)?.statement.head).toBe(head);
    }
  });

  test('of five needs a third vote, which the proposer gathers', async () => {
    const five = [...three, 'west', 'middle'];
    mesh = await QuorumMesh.start(five, 5, { linkMs: 100 });
    const [, second] = order(five) as [string, string];
    await warm(five);
    const { kind, ms } = await timed(second, a);
    expect(kind).toBe('confirmed');
    expect(ms).toBeGreaterThanOrEqual(400);
  });

  test('is answered by the proposer when that one gives no vote, as its disk has no room', async () => {
    mesh = await QuorumMesh.start(three);
    const [first, second] = order(three) as [string, string];
    expect(await mesh.node(second).propose(register, a)).toMatchObject({ kind: 'confirmed' });
    mesh.node(first).kv.failTransactions('disk_full', 50);
    expect(await mesh.node(second).propose(register, ab)).toMatchObject({ kind: 'confirmed' });
    mesh.node(first).kv.clearFault();
  });

  test('has what is not kept with the vote, as entries of the control log, kept after it', async () => {
    mesh = await QuorumMesh.start(three, 3, { linkMs: 100 });
    const [, second] = order(three) as [string, string];
    await warm(three);
    mesh.node(second).certifiesApart = true;
    const { ms } = await timed(second, a);
    expect(ms).toBeLessThan(300);
    expect(mesh.node(second).book.latest(register)?.statement.head).toBe(a);
  });

  /** South waits for a head of two registers, while the answers of those it asked are far away, and north asks for its votes. */
  const askedMeanwhile = async (
    items: readonly VoteItem[],
    voted: Uint8Array,
    { isRestored = false }: { readonly isRestored?: boolean } = {},
  ) => {
    mesh = await QuorumMesh.start(three, 3, { linkMs: 5_000 });
    const [north, south] = [mesh.node('north'), mesh.node('south')];
    if (isRestored) {
      await south.stop();
      const heard = { sequence: 5, restored: true };
      await mesh.run(new KvAcceptorStore(south.kv).transact((votes) => votes.setHeard(north.nodeId, heard)));
      await south.start();
    }
    await mesh.clock.advance(30_000);
    for (const each of awaited) south.engine.propose(each, a).catch(() => undefined);
    await mesh.clock.advance(1);
    const answer = south.engine.answer(
      { t: 'votes', epoch: 1, seen: 0, own: 1, voted, items: [...items] },
      north.peerId,
    );
    await mesh.clock.advance(100);
    expect(await answer).toMatchObject({ t: 'votes' });
    return south.book.kept.map(({ statement }) => statement.register);
  };
  /** Registers that north is the first of: so south waits for it. */
  const [one, two] = Array.from({ length: 60 }, (_, at) => registerOf(`north ${at}`)).filter((each) => {
    return stickyOrder(each, three.map(coordinatorOf))[0]?.nodeId === coordinatorOf('north').nodeId;
  }) as [string, string];
  const awaited = [one, two];
  const { signer } = testNode('north');
  const accepting = (of: string): VoteItem => ({ t: 'accept', register: of, ballot, value, next: null });

  test('adds the vote that came with the question to its own', async () => {
    const voted = signStatement(statementOf(one), signer, testCluster);
    expect(await askedMeanwhile([accepting(one)], voted)).toEqual([one]);
  });

  test('does not count the vote of one that has forgotten votes', async () => {
    const voted = signStatement(statementOf(one), signer, testCluster);
    expect(await askedMeanwhile([accepting(one)], voted, { isRestored: true })).toEqual([]);
  });

  test('takes nothing for proved of a group of which it refuses a part', async () => {
    const voted = signStatement(statementOf(one), signer, testCluster);
    // One ballot carries one value: a second one for the same register is refused.
    const other: VoteItem = { ...accepting(one), value: { ...value, head: ab } } as VoteItem;
    expect(await askedMeanwhile([accepting(one), accepting(two), other], voted)).toEqual([]);
  });

  test('waits for the proposer’s answer when its own disk does not take the certificate', async () => {
    mesh = await QuorumMesh.start(three);
    const [, second] = order(three) as [string, string];
    mesh.node(second).certifiesApart = true;
    const { book } = mesh.node(second);
    const keep = book.keep.bind(book);
    let refused = 0;
    book.keep = async (certificate) => {
      refused += 1;
      if (refused === 1) throw new MeshError('disk_full', 'no room');
      await keep(certificate);
    };
    expect(await mesh.node(second).propose(register, a)).toMatchObject({ kind: 'confirmed' });
    expect(refused).toBe(2);
  });
});

describe('votes that pass by', () => {
  const coordinators = three.map(coordinatorOf);
  const [north, east] = coordinators as [(typeof coordinators)[0], (typeof coordinators)[0]];
  const view: QuorumView = { cluster: testCluster, epoch: 1, coordinators, carried: true, logSeq: 1 };
  const groupOf = (names: readonly string[], by: readonly [string, string] = ['north', 'east']): AcceptedGroup => {
    const statements = names.map((name) => statementOf(registerOf(name)));
    const batch = statements.length > 1 ? batchOf(statements) : undefined;
    const [told, own] = by.map((name) => {
      const { signer } = testNode(name);
      const only = statements[0] as Statement;
      return batch === undefined ? signStatement(only, signer, testCluster) : signBatch(batch, signer, testCluster);
    }) as [Uint8Array, Uint8Array];
    return {
      view,
      statements,
      batch,
      own: { coordinator: east, signature: own },
      told: { coordinator: north, signature: told },
    };
  };
  const registersOf = (certificates: readonly Certificate[]) => certificates.map(({ statement }) => statement.register);

  test('prove what is waited for, and that alone', async () => {
    const learner = new EarlyLearner();
    const { learned, end } = learner.expect(registerOf('y'), a);
    const [certificate, ...others] = learner.certificates(groupOf(['x', 'y', 'z']));
    expect(others).toEqual([]);
    expect(verifyCertificate(certificate as Certificate, { cluster: testCluster, coordinators })).toBe(true);
    learner.learned(certificate as Certificate);
    await expect(learned).resolves.toEqual({ kind: 'confirmed', certificate });
    end();
    expect(learner.certificates(groupOf(['x', 'y', 'z']))).toEqual([]);
  });

  test('tell everybody who waits for the same head, until each has ended', async () => {
    const learner = new EarlyLearner();
    const [one, two, other] = [a, a, ab].map((head) => learner.expect(registerOf('y'), head));
    one?.end();
    const proved = learner.certificates(groupOf(['y']));
    expect(registersOf(proved)).toEqual([registerOf('y')]);
    for (const certificate of proved) learner.learned(certificate);
    await expect(two?.learned).resolves.toMatchObject({ kind: 'confirmed' });
    const nobody = Symbol('nobody');
    expect(await Promise.race([one?.learned, other?.learned, nobody])).toBe(nobody);
  });

  test.each([
    ['is another’s', ['south', 'east']],
    ['is under other statements', undefined],
  ] as const)('prove nothing where the proposer’s signature %s', (_what, by) => {
    const learner = new EarlyLearner();
    learner.expect(registerOf('y'), a);
    for (const names of [['y'], ['x', 'y']]) {
      const group = groupOf(names, by);
      const { told } = groupOf([...names, 'w'], by);
      expect(learner.certificates(by === undefined ? { ...group, told } : group)).toEqual([]);
    }
  });

  test('prove nothing where two are no majority', () => {
    const learner = new EarlyLearner();
    learner.expect(registerOf('y'), a);
    const five = [...three, 'west', 'middle'].map(coordinatorOf);
    expect(learner.certificates({ ...groupOf(['y']), view: { ...view, coordinators: five } })).toEqual([]);
  });
});
