import { beforeEach, describe, expect, test } from 'vitest';
import { linkHash, type RegisterValue } from '../../../crdt/certificate.ts';
import { encodeLogLine } from '../../../crdt/control/checkpoint.ts';
import type { EntryText } from '../../../crdt/control/entry.ts';
import { type ControlRefusal, registerValueOf } from '../../../crdt/control-log.ts';
import type { PeerId } from '../../../crdt/ids.ts';
import { VirtualClock } from '../../../src/adapters/memory/clock.ts';
import { MemoryKv } from '../../../src/adapters/memory/kv.ts';
import { ControlLogKind } from '../../../src/control/control-log-kind.ts';
import { ControlStore } from '../../../src/control/control-store.ts';
import { memberOf, sampleLog, type TestLog } from '../../support/control-log.ts';
import { accepted } from '../../support/versions.ts';

const peer = memberOf('east').peerId as PeerId;
const { signal } = new AbortController();

let log: TestLog;
let store: ControlStore;
let kind: ControlLogKind;
/** What the peer has to give. */
let offered: Map<string, string>;
let lines: string[];
let heldBack: ControlRefusal | undefined;

beforeEach(async () => {
  log = sampleLog();
  lines = log.entries.map(encodeLogLine);
  offered = new Map();
  heldBack = undefined;
  store = await ControlStore.open(new MemoryKv(new VirtualClock()), log.genesisText);
  kind = new ControlLogKind({
    store,
    fetchEntries: async (_from, after) => lines.slice(after, after + 2),
    fetchCandidate: async (_from, hash) => offered.get(hash),
    accepted: async () => undefined,
    holdsBack: () => heldBack,
  });
});

function propose(reason: string): { entry: EntryText; value: RegisterValue } {
  const entry = log.draft([{ type: 'configuration', scope: 'cluster', values: { reason } }], reason);
  offered.set(entry.hash, entry.text);
  return { entry, value: registerValueOf(log.state, entry) };
}

const hold = (value: RegisterValue): Promise<boolean> => kind.hold('control-log', value, peer, signal);
const lastValue = (): RegisterValue => log.entries.at(-1)?.certificate.statement ?? expect.fail();

describe('a coordinator', () => {
  test('fetches the certified entries it lacks, and then holds the proposed one', async () => {
    const { entry, value } = propose('next');
    expect(await hold(value)).toBe(true);
    expect(store.state().seq).toBe(6);
    expect(store.candidates.get(entry.hash)).toEqual(entry);
    expect(kind.check('control-log', lastValue(), entry.hash)).toBe('accept');
  });

  test('does not vote while it lacks the entry before, or when what it is given does not hold', async () => {
    const { value } = propose('next');
    lines = lines.slice(0, 3);
    expect(await hold(value)).toBe(false);
    expect(store.state().seq).toBe(3);
    lines = [...lines, 'rubbish'];
    expect(await hold(value)).toBe(false);
  });

  test('does not vote for a text it cannot get, another text, or another link', async () => {
    accepted(await store.append(log.entries));
    const { entry, value } = propose('next');
    const other = propose('other');
    offered.set(entry.hash, other.entry.text);
    expect(await hold(value)).toBe(false);
    offered.delete(entry.hash);
    expect(await hold(value)).toBe(false);
    expect(await hold({ ...other.value, previous: linkHash(log.cluster, 'control-log', other.value) })).toBe(false);
    expect(await hold(other.value)).toBe(true);
  });

  test('holds the certified entries it has, and no others in their place', async () => {
    accepted(await store.append(log.entries));
    expect(await hold(lastValue())).toBe(true);
    expect(await hold({ ...lastValue(), head: log.cluster })).toBe(false);
  });

  test('does not vote for an entry that does not follow', async () => {
    const { value } = propose('next');
    log.add({ type: 'configuration', scope: 'cluster', values: { taken: true } });
    lines = log.entries.map(encodeLogLine);
    accepted(await store.append(log.entries));
    expect(await hold(value)).toBe(false);
  });
});

describe('the judgement of a proposed entry', () => {
  test('is held when its operations were committed by another entry', async () => {
    const { entry, value } = propose('retried');
    expect(await hold(value)).toBe(true);
    const [operation] = entry.entry.operations;
    const { id: _, ...asked } = operation ?? expect.fail();
    log.append(log.certify(log.draft([asked as never], 'retried')));
    expect(log.entries.at(-1)?.entry.entry.operations).toEqual(entry.entry.operations);
    accepted(await store.append(log.entries));
    expect(kind.check('control-log', lastValue(), entry.hash)).toBe('held');
    expect(kind.check('control-log', lastValue(), lastValue().head)).toBe('held');
  });

  test('says that the log has moved when its place was taken', async () => {
    const { entry, value } = propose('late');
    expect(await hold(value)).toBe(true);
    log.add({ type: 'configuration', scope: 'cluster', values: { taken: true } });
    accepted(await store.append(log.entries));
    expect(kind.check('control-log', lastValue(), entry.hash)).toMatchObject({ code: 'log_moved' });
    expect(kind.check('control-log', null, propose('unknown').entry.hash)).toMatchObject({ code: 'log_moved' });
  });

  test('says that the log has moved when the register is elsewhere', async () => {
    const { entry, value } = propose('early');
    expect(await hold(value)).toBe(true);
    expect(kind.check('control-log', null, entry.hash)).toMatchObject({ code: 'log_moved' });
    expect(kind.check('control-log', value, entry.hash)).toBe('held');
  });
});
