import { beforeEach, describe, expect, test } from 'vitest';
import type { CertifiedEntry } from '../../../crdt/control/checkpoint.ts';
import { verifyControlLog } from '../../../crdt/control-verify.ts';
import { fromBase32 } from '../../../crdt/digest.ts';
import { leafHash, verifyConsistency, verifyInclusion } from '../../../crdt/merkle-log.ts';
import { VirtualClock } from '../../../src/adapters/memory/clock.ts';
import { MemoryKv } from '../../../src/adapters/memory/kv.ts';
import { appendEntriesMax, ControlStore } from '../../../src/control/control-store.ts';
import { entryKey, nodeKey, operationKey, snapshotKey } from '../../../src/control/storage-keys.ts';
import { memberOf, sampleLog, TestLog } from '../../support/control-log.ts';
import { accepted, refusal } from '../../support/versions.ts';

let kv: MemoryKv;
let log: TestLog;
let store: ControlStore;

beforeEach(async () => {
  kv = new MemoryKv(new VirtualClock());
  log = sampleLog();
  store = await ControlStore.open(kv, log.genesisText);
});

const reopen = (): Promise<ControlStore> => ControlStore.open(kv, log.genesisText);
const raw = (text: string): Uint8Array => fromBase32(text) ?? expect.fail(text);

async function appendAll(entries: readonly CertifiedEntry[]): Promise<void> {
  for (let at = 0; at < entries.length; at += appendEntriesMax) {
    accepted(await store.append(entries.slice(at, at + appendEntriesMax)));
  }
}

describe('the control store', () => {
  test('begins with the genesis and knows its own log only', async () => {
    expect(store.state()).toMatchObject({ seq: 0, hash: log.cluster, epoch: 1 });
    expect(store.checkpoint()).toEqual(new TestLog().checkpoint());
    const other = new TestLog([memberOf('someone', ['coordinator'])]);
    await expect(ControlStore.open(kv, other.genesisText)).rejects.toMatchObject({ code: 'invalid_config' });
    await expect(ControlStore.open(kv, '{}')).rejects.toMatchObject({ code: 'invalid_config' });
  });

  test('comes to the same after a restart, after one entry and after all', async () => {
    for (const entry of log.entries) {
      accepted(await store.append([entry]));
      const again = await reopen();
      expect({ ...again.state(), operations: null }).toEqual({ ...store.state(), operations: null });
      expect(again.checkpoint()).toEqual(store.checkpoint());
    }
    expect({ ...store.state(), operations: null }).toEqual({ ...log.state, operations: null });
    expect(store.checkpoint()).toEqual(log.checkpoint());
    expect(store.entriesAfter(2, 3)).toEqual(log.entries.slice(2, 5));
    expect(store.entriesAfter(6, 3)).toEqual([]);
    expect(store.entry(6)).toEqual(log.entries[5]);
    expect(store.entry(7)).toBeUndefined();
  });

  test('exports what the offline check accepts', async () => {
    await appendAll(log.entries);
    expect([...store.exportLines()]).toEqual(log.lines());
    expect(verifyControlLog(store.exportLines(), log.cluster).ok).toBe(true);
  });

  test('passes over entries it has, and keeps those before one that it refuses', async () => {
    const [first, second, third] = log.entries as [CertifiedEntry, CertifiedEntry, CertifiedEntry];
    accepted(await store.append([first]));
    const mixed = await store.append([first, second, { entry: third.entry, certificate: first.certificate }]);
    expect(refusal(mixed)).toMatchObject({ code: 'not_certified' });
    expect(store.state().seq).toBe(2);
    expect(refusal(await store.append([log.entries[4] as CertifiedEntry]))).toMatchObject({ code: 'wrong_position' });
    const branch = new TestLog();
    const rival = branch.add({ type: 'configuration', scope: 'cluster', values: { rival: true } });
    expect(refusal(await store.append([rival]))).toMatchObject({ code: 'forked' });
  });

  test('takes appends one after the other, in the order in which they were asked for', async () => {
    const answers = await Promise.all(log.entries.map((entry) => store.append([entry])));
    expect(answers.every(({ ok }) => ok)).toBe(true);
    expect(store.state().seq).toBe(6);
  });

  test('is where it was when the disk is full, and goes on afterwards', async () => {
    kv.failTransactions('disk_full');
    await expect(store.append(log.entries)).rejects.toMatchObject({ code: 'disk_full' });
    expect(store.state().seq).toBe(0);
    await appendAll(log.entries);
    expect(store.checkpoint()).toEqual(log.checkpoint());
  });

  test('knows the operations of each state, and no later ones', async () => {
    await appendAll(log.entries);
    const id = log.entries[3]?.entry.entry.operations[0]?.id ?? '';
    expect(store.state().operations.get(id)).toBe(4);
    expect(store.stateAt(4)?.operations.get(id)).toBe(4);
    expect(store.stateAt(3)?.operations.get(id)).toBeUndefined();
  });

  test('proves each entry, and that each tree began as the earlier ones', async () => {
    await appendAll(log.entries);
    const texts = [log.genesisText, ...log.entries.map(({ entry }) => entry.text)];
    const rootAt = (size: number): Uint8Array => raw(store.proof(0, size)?.root ?? '');
    for (const [index, text] of texts.entries()) {
      for (let size = index + 1; size <= texts.length; size += 1) {
        const proof = store.proof(index, size) ?? expect.fail();
        const claim = { leaf: leafHash(Buffer.from(text)), index, size, root: raw(proof.root) };
        expect(verifyInclusion(claim, proof.path.map(raw))).toBe(true);
        const { root, path } = store.consistency(index + 1, size) ?? expect.fail();
        const growth = { first: index + 1, firstRoot: rootAt(index + 1), second: size, secondRoot: raw(root) };
        expect(verifyConsistency(growth, path.map(raw))).toBe(true);
      }
    }
    // The certificate of an entry is one of the root of all entries before it.
    for (const { entry } of log.entries) expect(store.proof(0, entry.entry.seq)?.root).toBe(entry.entry.root);
    expect(store.proof(7)).toBeUndefined();
    expect(store.proof(0, 8)).toBeUndefined();
    expect(store.proof(-1)).toBeUndefined();
    expect(store.consistency(3, 2)).toBeUndefined();
    expect(store.consistency(0)).toBeUndefined();
  });
});

describe('a long control log', () => {
  test('is folded from the last state that was kept, and every earlier state can be asked for', async () => {
    for (let at = log.entries.length; at < 1_100; at += 1) {
      log.add({ type: 'configuration', scope: 'cluster', values: { at } });
    }
    await appendAll(log.entries.slice(0, 1_050));
    expect(store.positionAt(1_030)?.hash).toBe(log.entries[1_029]?.entry.hash);
    await appendAll(log.entries.slice(1_050));
    for (const seq of [1_030, 600, 5, 0, 1_100, 512, 1_023, 511]) {
      const { hash, members } = store.stateAt(seq) ?? expect.fail();
      expect(store.positionAt(seq)).toMatchObject({ hash, members });
    }
    expect(store.positionAt(1_101)).toBeUndefined();
    expect(store.positionAt(-1)).toBeUndefined();
    // Without the first rows a start that folded everything would fail.
    await kv.transact((transaction) => transaction.delete(entryKey(700)));
    const again = await reopen();
    expect(again.checkpoint()).toEqual(log.checkpoint());
    expect(again.stateAt(1_030)?.configuration.get('cluster')).toEqual({ at: 1_029 });
    expect(again.stateAt(600)?.configuration.get('cluster')).toEqual({ at: 599 });
    expect(again.stateAt(5)).toMatchObject({ seq: 5, epoch: 3 });
    expect(again.stateAt(0)).toMatchObject({ seq: 0, epoch: 1 });
    expect(again.stateAt(1_101)).toBeUndefined();
    expect(() => again.stateAt(701)).toThrow(/entry 700 of the control log is damaged: its row is missing/);
    expect(() => again.entriesAfter(690, 20)).toThrow(/entry 700/);
  });
});

describe('a damaged row', () => {
  const rot = async (key: Uint8Array): Promise<void> => {
    const row = kv.get(key) ?? expect.fail();
    await kv.transact((transaction) =>
      transaction.put(
        key,
        row.map((byte, at) => (at === 8 ? byte ^ 4 : byte)),
      ),
    );
  };

  test.each([
    ['entry 3 of the control log', () => entryKey(3)],
    ["the control log's state at entry 0", () => snapshotKey(0)],
    ['Merkle node 2 of level 1 of the control log', () => nodeKey(1, 2)],
    ['entry 0 of the control log', () => entryKey(0)],
  ])('is named when the log is opened: %s', async (what, key) => {
    await appendAll(log.entries.slice(0, 5));
    await rot(key());
    await expect(reopen()).rejects.toMatchObject({ code: 'corrupt', detail: { row: what } });
  });

  test('is named when it is read', async () => {
    await appendAll(log.entries);
    const id = log.entries[0]?.entry.entry.operations[0]?.id ?? '';
    await rot(operationKey(id));
    expect(() => store.state().operations.get(id)).toThrow(`operation ${id} of the control log is damaged`);
    await rot(nodeKey(0, 1));
    expect(() => store.proof(0)).toThrow('Merkle node 1 of level 0 of the control log is damaged');
    await kv.transact((transaction) => transaction.delete(entryKey(6)));
    expect(() => store.entriesAfter(4, 10)).toThrow('entry 6 of the control log is damaged: its row is missing');
  });

  test('is one that stands in the place of another', async () => {
    await appendAll(log.entries);
    const row = kv.get(entryKey(2)) ?? expect.fail();
    await kv.transact((transaction) => transaction.put(entryKey(3), row));
    expect(() => store.entry(3)).toThrow('entry 3 of the control log is damaged');
  });
});

describe('proposed entries', () => {
  const rival = (reason: string) =>
    log.draft([{ type: 'configuration', scope: 'cluster', values: { reason } }], reason);

  test('survive a restart, until an entry of their place is certified', async () => {
    await appendAll(log.entries);
    const [chosen, other] = [rival('chosen'), rival('other')];
    await store.candidates.hold(chosen);
    await store.candidates.hold(other);
    store = await reopen();
    expect(store.candidates.get(other.hash)).toEqual(other);
    accepted(await store.append([log.certify(chosen)]));
    store = await reopen();
    expect(store.candidates.get(chosen.hash)).toBeUndefined();
    expect(store.candidates.get(other.hash)).toBeUndefined();
  });

  test('are bounded, and the one that was voted for stays', async () => {
    await appendAll(log.entries);
    const voted = rival('voted');
    await store.candidates.hold(voted);
    for (let at = 0; at < 70; at += 1) await store.candidates.hold(rival(`rival ${at}`), voted.hash);
    expect(store.candidates.get(voted.hash)).toEqual(voted);
    expect(store.candidates.get(rival('rival 0').hash)).toBeUndefined();
    expect(store.candidates.get(rival('rival 69').hash)).toBeDefined();
  });
});
