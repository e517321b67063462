import { expect, test } from 'vitest';
import type { Certificate } from '../../../crdt/certificate.ts';
import type { NodeId } from '../../../crdt/ids.ts';
import type { AcceptorState } from '../../../crdt/quorum/acceptor.ts';
import { VirtualClock } from '../../../src/adapters/memory/clock.ts';
import { MemoryKv } from '../../../src/adapters/memory/kv.ts';
import { SeededRandom } from '../../../src/adapters/memory/random.ts';
import { KvAcceptorStore } from '../../../src/node/confirmation/acceptor-store.ts';
import { decodeRow, encodeRow } from '../../../src/node/rows.ts';
import { actorOf, testNode } from '../../support/versions.ts';

const clock = new VirtualClock();
const ballot = { counter: 3, proposer: actorOf(testNode('north')) };
const stateIn = (epoch: number): AcceptorState => ({
  promised: ballot,
  accepted: { ballot, value: { position: 1, head: 'h', previous: null }, epoch },
});
const certificateOf = (register: string): Certificate => ({
  statement: { v: 1, register, epoch: 1, position: 1, head: 'head', previous: null, ballot },
  signatures: [],
});
const east = testNode('east').nodeId as NodeId;

test('what was voted is there after a restart, with epoch, sequence and what was heard', async () => {
  const kv = new MemoryKv(clock);
  await new KvAcceptorStore(kv).transact((transaction) => {
    expect([transaction.epoch, transaction.sequence, transaction.restored]).toEqual([0, 0, false]);
    transaction.raiseEpoch(2);
    transaction.setSequence(7);
    transaction.setState('r', stateIn(2));
    expect(transaction.state('r')).toEqual(stateIn(2));
    transaction.setHeard(east, { sequence: 9, restored: false });
  });
  const store = new KvAcceptorStore(kv.crash(new SeededRandom('crash')));
  expect(store.sequence()).toBe(7);
  expect(store.heardVotes()).toEqual(new Map([[east, { sequence: 9, restored: false }]]));
  await store.transact((transaction) => {
    expect([transaction.epoch, transaction.sequence, transaction.restored]).toEqual([2, 7, false]);
    expect(transaction.state('r')).toEqual(stateIn(2));
    expect(transaction.state('s')).toEqual({ promised: null, accepted: null });
  });
});

test('a certificate is kept with the vote that completes it, and told of once both are on disk', async () => {
  const flushing = new VirtualClock();
  const kv = new MemoryKv(flushing, { name: 'disk', flushDelayMs: 5 });
  const told: string[] = [];
  const key = Buffer.from('certificate');
  const store = new KvAcceptorStore(kv, {
    holds: () => false,
    certify: (transaction, { statement: { register, head } }) => {
      if (register !== 'r') return undefined;
      transaction.put(key, Buffer.from(head));
      return () => told.push(`${head}, stored: ${Buffer.from(kv.get(key) ?? []).toString()}`);
    },
  });
  const vote = (register: string) =>
    store.transact((transaction) => {
      transaction.setSequence(1);
      return transaction.certify(certificateOf(register));
    });
  const kept = vote('r');
  await flushing.advance(3);
  expect(told).toEqual([]);
  expect(await flushing.run(kept, 100)).toBe(true);
  expect(told).toEqual(['head, stored: head']);
  expect(await flushing.run(vote('s'), 100)).toBe(false);
  kv.failTransactions('disk_full', 1);
  await expect(flushing.run(vote('r'), 100)).rejects.toMatchObject({ code: 'disk_full' });
  expect(told).toHaveLength(1);
});

test('a transaction that throws leaves nothing behind', async () => {
  const store = new KvAcceptorStore(new MemoryKv(clock));
  const failing = store.transact((transaction) => {
    transaction.setSequence(1);
    throw new Error('no');
  });
  await expect(failing).rejects.toThrow('no');
  expect(store.sequence()).toBe(0);
});

test('a copied directory is noticed, for good', async () => {
  const kv = new MemoryKv(clock);
  await new KvAcceptorStore(kv).transact((transaction) => transaction.setSequence(1));
  const copy = kv.clone();
  const restored = await new KvAcceptorStore(copy).transact((transaction) => transaction.restored);
  expect(restored).toBe(true);
  expect(await new KvAcceptorStore(copy.reopen()).transact((transaction) => transaction.restored)).toBe(true);
  expect(await new KvAcceptorStore(kv).transact((transaction) => transaction.restored)).toBe(false);
});

test('a copy that was taken before the first vote is noticed all the same, once the store was opened', async () => {
  const first = new MemoryKv(clock);
  expect(await new KvAcceptorStore(first).open()).toBe(true);
  // What was flushed, and no more.
  const kv = first.crash(new SeededRandom('crash'));
  const backup = kv.snapshot();
  expect(await new KvAcceptorStore(kv).open()).toBe(true);
  await new KvAcceptorStore(kv).transact((transaction) => transaction.setSequence(1));
  const restored = kv.restore(backup);
  expect(await new KvAcceptorStore(restored).open()).toBe(false);
  expect(await new KvAcceptorStore(restored.reopen()).open()).toBe(false);
});

test('counts the registers it has votes on, each once, and those of a store that was never counted', async () => {
  const kv = new MemoryKv(clock);
  const store = new KvAcceptorStore(kv);
  expect(store.registers()).toBe(0);
  await store.transact((transaction) => {
    transaction.state('a');
    transaction.setState('a', stateIn(1));
    transaction.setState('b', stateIn(1));
    transaction.setState('b', stateIn(2));
  });
  await store.transact((transaction) => {
    transaction.setState('a', stateIn(2));
    transaction.state('c');
    transaction.setState('c', stateIn(2));
  });
  expect(store.registers()).toBe(3);
  const voterKey = Uint8Array.of(0x60);
  await kv.transact((transaction) => {
    const { registers: _count, ...earlier } = decodeRow<{ registers: number }>(
      transaction.get(voterKey) as Uint8Array,
      'voter',
    );
    transaction.put(voterKey, encodeRow(earlier));
  });
  await store.open();
  expect(store.registers()).toBe(3);
});

test('lists accepted registers in the order of their names, page by page', async () => {
  const store = new KvAcceptorStore(new MemoryKv(clock));
  const pages = await store.transact((transaction) => {
    for (const [name, epoch] of [
      ['c', 1],
      ['a', 2],
      ['d', 3],
    ] as const)
      transaction.setState(name, stateIn(epoch));
    transaction.setState('b', { promised: ballot, accepted: null });
    const first = transaction.listAccepted(2, null, 2);
    return [first, transaction.listAccepted(2, first.through, 2)];
  });
  expect(pages).toEqual([
    {
      registers: [
        ['a', true],
        ['c', false],
      ],
      through: 'c',
    },
    { registers: [['d', true]], through: null },
  ]);
});
