import { afterEach, expect, test } from 'vitest';
import { batchOf, type Statement, verifyBatch, verifyStatement } from '../../../crdt/certificate.ts';
import { decodeQuorumRequest, encodeQuorumMessage, type VoteItem } from '../../../protocols/quorum/messages.ts';
import type { Outcome } from '../../../protocols/quorum/register-kind.ts';
import { stickyOrder } from '../../../protocols/quorum/sticky-order.ts';
import { coordinatorOf, headOf, QuorumMesh, registerOf } from '../../support/quorum-mesh.ts';
import { actorOf, testCluster, testNode } from '../../support/versions.ts';

let mesh: QuorumMesh;

afterEach(async () => {
  expect(mesh.faults()).toEqual([]);
  await mesh.stop();
});

const three = ['north', 'east', 'south'] as const;
const firstOf = (register: string): string => {
  const [owner] = stickyOrder(register, three.map(coordinatorOf));
  return three.find((name) => coordinatorOf(name).nodeId === owner?.nodeId) as string;
};
/** Registers whose own coordinator is north. */
const registers = Array.from({ length: 60 }, (_, at) => registerOf(`n${at}`)).filter(
  (each) => firstOf(each) === 'north',
);
const [register, ...others] = registers as [string, ...string[]];
const [a, ab, ac] = [headOf('a'), headOf('a', 'b'), headOf('a', 'c')];

test('a first round that is begun again after its answers were lost leaves the register with one chain', async () => {
  mesh = await QuorumMesh.start(three);
  const [north, east] = [mesh.node('north'), mesh.node('east')];
  await north.propose(others[0] as string, a);
  const lost = north.engine.propose(register, a, { timeoutMs: 14 });
  await mesh.clock.advance(9);
  mesh.hub.partition(mesh.peers('north'), mesh.peers('east', 'south'));
  expect(await mesh.run(lost)).toMatchObject({ kind: 'unavailable' });
  mesh.hub.heal();
  await mesh.clock.advance(1_000);
  for (const each of others.slice(1, 11)) expect(await north.propose(each, a)).toMatchObject({ kind: 'confirmed' });
  expect(await north.propose(register, a)).toMatchObject({ kind: 'confirmed' });
  mesh.hub.partition(mesh.peers('north'), mesh.peers('east', 'south'));
  await mesh.clock.advance(100);
  expect(await east.propose(register, ab)).toMatchObject({ kind: 'confirmed' });
  mesh.hub.heal();
  await mesh.clock.advance(1_000);
  // East's head is the next one: north hears of it, and its own candidate does not follow.
  expect(await north.propose(register, ac)).toMatchObject({
    kind: 'refused',
    certificate: { statement: { position: 2, head: ab } },
  });
});

const ballotOf = (outcome: Outcome) => {
  if (outcome.kind !== 'confirmed') throw new Error(`not confirmed: ${JSON.stringify(outcome)}`);
  return outcome.certificate.statement.ballot;
};

test('the own coordinator of a register begins it in ballot 0, and any other with a prepared round', async () => {
  mesh = await QuorumMesh.start(three);
  const [north, east] = [mesh.node('north'), mesh.node('east')];
  expect(ballotOf(await north.propose(register, a)).counter).toBe(0);
  expect(ballotOf(await north.propose(register, ab)).counter).toBe(1);
  const [, , another] = registers as [string, string, string];
  mesh.hub.partition(mesh.peers('north'), mesh.peers('east', 'south'));
  await mesh.clock.advance(100);
  const ballot = ballotOf(await east.propose(another, a));
  expect(ballot.counter).toBeGreaterThan(0);
  expect(ballot.proposer.split('.')[0]).not.toBe(north.nodeId);
});

test('in an epoch into which nothing was carried every register begins with a prepared round', async () => {
  mesh = await QuorumMesh.start(three);
  mesh.epochs.set(2, three.map(coordinatorOf));
  for (const node of mesh.nodes.values()) node.epoch = 2;
  expect(ballotOf(await mesh.node('north').propose(register, a)).counter).toBe(1);
});

test('a later life of the own coordinator finds the vote it gave, and has that confirmed first', async () => {
  mesh = await QuorumMesh.start(three);
  const north = mesh.node('north');
  north.engine.propose(register, a, { timeoutMs: 500 }).catch(() => undefined);
  // Its own vote is flushed, and nobody else has heard of the round.
  await mesh.clock.advance(2);
  mesh.hub.partition(mesh.peers('north'), mesh.peers('east', 'south'));
  await mesh.clock.advance(1_000);
  north.crash();
  mesh.hub.heal();
  await north.start();
  await mesh.clock.advance(1_000);
  mesh.hub.partition(mesh.peers('south'), mesh.peers('north', 'east'));
  await mesh.clock.advance(100);
  const outcome = await north.propose(register, headOf('b'));
  expect(outcome).toMatchObject({ kind: 'refused', certificate: { statement: { position: 1, head: a } } });
  expect(outcome.kind === 'refused' && outcome.certificate?.statement.ballot.counter).toBeGreaterThan(0);
});

test('a coordinator that lost its disk is told so by whoever voted in its first rounds, and begins none again', async () => {
  mesh = await QuorumMesh.start(three);
  const north = mesh.node('north');
  const empty = north.kv.snapshot();
  expect(await north.propose(register, a)).toMatchObject({ kind: 'confirmed' });
  await north.stop();
  north.kv = north.kv.restore(empty, { unnoticed: true });
  north.book.forget();
  // South is away: what east remembers has to be enough.
  await mesh.node('south').stop();
  await north.start();
  await mesh.clock.advance(1_000);
  expect(await north.propose(register, headOf('b'))).toMatchObject({ kind: 'unavailable' });
  expect(north.engine.restoredCoordinators()).toEqual([north.nodeId]);
  await mesh.node('south').start();
  await mesh.clock.advance(1_000);
  expect(await mesh.node('east').propose(register, ab)).toMatchObject({ kind: 'confirmed' });
});

test('what a coordinator tells with a question is on disk with the vote that it gets, also when the disk failed before', async () => {
  mesh = await QuorumMesh.start(three);
  const [north, south] = [mesh.node('north'), mesh.node('south')];
  const value = { position: 1, head: a, previous: null };
  const ballot = { counter: 1, proposer: actorOf(testNode('north')) };
  const items: VoteItem[] = [{ t: 'accept', register, ballot, value, next: null }];
  const ask = () => mesh.run(south.engine.answer({ t: 'votes', epoch: 1, seen: 0, own: 9, items }, north.peerId));
  south.kv.failTransactions('disk_full', 1);
  await expect(ask()).rejects.toMatchObject({ code: 'disk_full' });
  expect(await ask()).toMatchObject({ t: 'votes' });
  south.crash();
  await south.start();
  expect(await south.engine.answer({ t: 'heard' }, north.peerId)).toEqual({ t: 'heard', sequence: 9 });
});

test('a value that others chose while the own coordinator was away is found, not begun over', async () => {
  mesh = await QuorumMesh.start(three);
  const [north, east] = [mesh.node('north'), mesh.node('east')];
  mesh.hub.partition(mesh.peers('north'), mesh.peers('east', 'south'));
  await mesh.clock.advance(100);
  expect(await east.propose(register, a)).toMatchObject({ kind: 'confirmed' });
  mesh.hub.heal();
  await mesh.clock.advance(100);
  expect(north.book.latest(register)).toBe(null);
  expect(await north.propose(register, headOf('b'))).toMatchObject({
    kind: 'refused',
    certificate: { statement: { position: 1, head: a } },
  });
  expect(await north.propose(register, ab)).toMatchObject({ kind: 'confirmed' });
});

test('the own coordinator whose disk fails proposes all the same, with the votes of the others', async () => {
  mesh = await QuorumMesh.start(three);
  const north = mesh.node('north');
  await north.propose(others[0] as string, a);
  north.kv.failTransactions('disk_full', 50);
  const ballot = ballotOf(await north.propose(register, a));
  expect(ballot.counter).toBeGreaterThan(0);
  north.kv.clearFault();
  expect(await north.propose(register, ab)).toMatchObject({ kind: 'confirmed' });
});

test('what the own coordinator cannot tell without having asked is not refused by its first round', async () => {
  mesh = await QuorumMesh.start(three);
  const north = mesh.node('north');
  mesh.hub.partition(mesh.peers('north'), mesh.peers('east', 'south'));
  await mesh.clock.advance(100);
  expect(await mesh.node('east').propose(register, a)).toMatchObject({ kind: 'confirmed' });
  mesh.hub.heal();
  await mesh.clock.advance(100);
  // As the control log: an entry that follows another is nothing for an empty register.
  north.refusesEmpty = true;
  expect(await north.propose(register, ab)).toMatchObject({ kind: 'confirmed' });
});

test('a first round by another coordinator than the register’s own is a violation of the protocol', async () => {
  mesh = await QuorumMesh.start(three);
  const { peerId } = mesh.node('east');
  const value = { position: 1, head: a, previous: null };
  const ask = (name: string) => {
    const ballot = { counter: 0, proposer: actorOf(testNode(name)) };
    const item = { t: 'accept', register, ballot, value, next: null } as const;
    return mesh.run(mesh.node('south').engine.answer({ t: 'votes', epoch: 1, seen: 0, own: 0, items: [item] }, peerId));
  };
  await expect(ask('east')).rejects.toMatchObject({ code: 'protocol_violation' });
  expect(await ask('north')).toMatchObject({ t: 'votes', answers: [{ t: 'accepted' }], batch: null });
});

test('a group of which everything is accepted is signed once, and one that is not item by item', async () => {
  mesh = await QuorumMesh.start(three);
  const [one, two] = [registers[3] as string, registers[4] as string];
  const value = { position: 1, head: a, previous: null };
  const ballot = { counter: 5, proposer: actorOf(testNode('north')) };
  const accept = (of: string, counter = 5) => {
    return { t: 'accept', register: of, ballot: { ...ballot, counter }, value, next: null } as const;
  };
  const prepare = (of: string, counter: number) => {
    return { t: 'prepare', register: of, ballot: { ...ballot, counter } } as const;
  };
  const { engine } = mesh.node('south');
  const ask = async (items: readonly VoteItem[]) => {
    const from = mesh.node('north').peerId;
    const answer = await mesh.run(engine.answer({ t: 'votes', epoch: 1, seen: 0, own: 0, items: [...items] }, from));
    if (answer.t !== 'votes') throw new Error(answer.t);
    return { kinds: answer.answers.map(({ t }) => t), batch: answer.batch, answers: answer.answers };
  };
  const whole = await ask([accept(one), prepare(register, 1), accept(two)]);
  expect(whole.kinds).toEqual(['accepted', 'promised', 'accepted']);
  const statements = [one, two].map((of) => ({ v: 1, register: of, epoch: 1, ...value, ballot }) as const);
  const { publicKey } = testNode('south').signer;
  expect(verifyBatch(batchOf(statements), whole.batch as Uint8Array, publicKey, testCluster)).toBe(true);
  expect(whole.answers[0]).toEqual({ t: 'accepted', signature: null });
  // A promise that is refused spoils no signature under what is accepted; a vote that is refused does.
  expect(await ask([accept(one), prepare(two, 1), accept(two)])).toMatchObject({
    kinds: ['accepted', 'outbid', 'accepted'],
    batch: expect.any(Uint8Array),
  });
  const part = await ask([accept(one), accept(two, 4)]);
  expect(part).toMatchObject({ kinds: ['accepted', 'outbid'], batch: null });
  const single = part.answers[0] as { readonly signature: Uint8Array };
  expect(verifyStatement(statements[0] as Statement, single.signature, publicKey, testCluster)).toBe(true);
  mesh.node('south').withheld.add(a);
  expect(await ask([accept(one), accept(two)])).toMatchObject({ kinds: ['missing', 'missing'], batch: null });
});

test('the wire takes counter 0 for a vote, and for nothing that is prepared', () => {
  const ballot = { counter: 0, proposer: actorOf(testNode('north')) };
  const value = { position: 1, head: a, previous: null };
  const read = (item: VoteItem): boolean =>
    decodeQuorumRequest(encodeQuorumMessage({ t: 'votes', epoch: 1, seen: 0, own: 0, items: [item] })).ok;
  expect(read({ t: 'accept', register, ballot, value, next: { ...ballot, counter: 1 } })).toBe(true);
  expect(read({ t: 'accept', register, ballot, value, next: null })).toBe(true);
  expect(read({ t: 'accept', register, ballot, value, next: ballot })).toBe(false);
  expect(read({ t: 'prepare', register, ballot: { ...ballot, counter: 1 } })).toBe(true);
  expect(read({ t: 'prepare', register, ballot })).toBe(false);
});
