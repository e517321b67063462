import { describe, expect, test } from 'vitest';
import { decodeEntry, encodeEntry } from '../../../crdt/control/entry.ts';
import type { ControlMember } from '../../../crdt/control/member.ts';
import { effectivePolicy } from '../../../crdt/control/namespace-policy.ts';
import type { ControlOperation } from '../../../crdt/control/operations.ts';
import { coordinatorsOf, coordinatorsOfEpoch, warningsOf } from '../../../crdt/control/state.ts';
import { checkEntryCertificate, draftEntry, foldEntry } from '../../../crdt/control-log.ts';
import type { ClusterId } from '../../../crdt/ids.ts';
import { memberOf, operationId, placementLog, sampleLog, TestLog } from '../../support/control-log.ts';
import { readVectors } from '../../support/vectors/index.ts';
import { accepted, refusal, testNode } from '../../support/versions.ts';

const vectors = readVectors('control-log');
const { nodeId: north } = testNode('north');
const { nodeId: east } = testNode('east');
const { nodeId: south } = testNode('south');
const asked = { actor: 'ada', reason: '', time: 0 };

/** The code with which these operations are refused, or undefined. */
function refusalOf(log: TestLog, ...operations: readonly object[]): string | undefined {
  const withIds = operations.map((operation, at) => ({ id: operationId(`asked ${at}`), ...operation }));
  const drafted = draftEntry(log.state, { ...asked, operations: withIds as unknown as ControlOperation[] });
  return drafted.ok ? undefined : drafted.error.code;
}

describe('an entry of the control log', () => {
  test.each([...vectors.entries, ...vectors.later])('has the hash $hash of the vector', ({ text, hash }) => {
    const decoded = accepted(decodeEntry(text));
    expect(decoded.hash).toBe(hash);
    expect(accepted(encodeEntry(decoded.entry))).toEqual(decoded);
  });

  test.each(vectors.refused)('is refused for: $why', ({ text, reason }) => {
    expect(refusal(decodeEntry(text))).toBe(reason);
  });

  test('is not written when it is longer than 64 KiB, or no JSON', () => {
    const log = new TestLog();
    const { entry } = log.draft([{ type: 'remove', nodeId: north }]);
    const values = { a: 'x'.repeat(16_000) };
    const operations = Array.from({ length: 5 }, (_, at) => ({
      id: operationId(`${at}`),
      type: 'configuration' as const,
      scope: `group/${at}`,
      values,
    }));
    expect(refusal(encodeEntry({ ...entry, operations }))).toMatch(/longer than 65536 bytes/);
    expect(refusal(encodeEntry({ ...entry, time: Number.NaN }))).toMatch(/not JSON/);
  });
});

describe('the fold', () => {
  test('comes to the members, policies, settings and epochs of the entries', () => {
    const { state } = sampleLog();
    expect([...state.members.values()].map(({ name }) => name).toSorted()).toEqual(['east', 'north', 'west']);
    expect(state.members.get(east)?.labels).toEqual({ dc: 'a', rack: 'a4' });
    expect(state.namespaces.get('docs')).toMatchObject({ replicas: 2, readMode: 'confirmed_only' });
    expect(state.configuration.size).toBe(0);
    expect(state).toMatchObject({ seq: 6, epoch: 3 });
    expect(state.epochs.map(({ epoch, fromSeq, coordinators }) => [epoch, fromSeq, coordinators.length])).toEqual([
      [1, 0, 3],
      [2, 3, 4],
      [3, 5, 3],
    ]);
    expect(coordinatorsOf(state).map(({ nodeId }) => nodeId)).toContain(testNode('west').nodeId);
    expect(coordinatorsOfEpoch(state, 1)?.map(({ nodeId }) => nodeId)).toEqual([north, east, south].toSorted());
    expect(coordinatorsOfEpoch(state, 4)).toBeUndefined();
  });

  test('refuses an entry that does not follow', () => {
    const log = new TestLog();
    const { entry, hash } = log.draft([{ type: 'configuration', scope: 'cluster', values: { a: 1 } }]);
    const codeOf = (change: object): string =>
      refusal(foldEntry(log.state, accepted(encodeEntry({ ...entry, ...change })))).code;
    expect(codeOf({ seq: 2 })).toBe('wrong_position');
    expect(codeOf({ previous: hash })).toBe('wrong_previous');
    expect(codeOf({ root: hash })).toBe('wrong_root');
    expect(codeOf({ epoch: 2 })).toBe('wrong_epoch');
  });

  test('says which entry has an operation that comes again', () => {
    const log = sampleLog();
    const [operation] = log.entries[1]?.entry.entry.operations ?? [];
    const drafted = draftEntry(log.state, { ...asked, operations: [operation as ControlOperation] });
    expect(refusal(drafted)).toMatchObject({ code: 'operation_committed', seq: 2 });
    expect(refusal(foldEntry(log.state, accepted(decodeEntry(log.entries[3]?.entry.text ?? ''))))).toMatchObject({
      seq: 4,
    });
  });

  test('lets no two members share a name, an id or a key', () => {
    const log = new TestLog();
    const admit = (changes: Partial<ControlMember>) => ({
      type: 'admit',
      member: memberOf('west', ['storage'], changes),
    });
    expect(refusalOf(log, admit({}))).toBeUndefined();
    expect(refusalOf(log, admit({ name: 'north' }))).toBe('name_taken');
    expect(refusalOf(log, admit({ nodeId: north }))).toBe('node_taken');
    expect(refusalOf(log, admit({ peerId: memberOf('north').peerId }))).toBe('key_taken');
    expect(refusalOf(log, admit({}), { type: 'admit', member: memberOf('west') })).toBe('node_taken');
  });

  test('never lets a removed key in again, under whatever name', () => {
    const log = new TestLog();
    log.add({ type: 'admit', member: memberOf('west') });
    const { nodeId } = testNode('west');
    log.add({ type: 'remove', nodeId });
    expect(refusalOf(log, { type: 'admit', member: memberOf('west') })).toBe('key_removed');
    const other = memberOf('other');
    expect(refusalOf(log, { type: 'admit', member: { ...other, peerId: memberOf('west').peerId } })).toBe(
      'key_removed',
    );
    expect(refusalOf(log, { type: 'admit', member: { ...other, nodeId, name: 'west' } })).toBeUndefined();
    expect(refusalOf(log, { type: 'remove', nodeId })).toBe('unknown_node');
    expect(refusalOf(log, { type: 'roles', nodeId, roles: ['agent'] })).toBe('unknown_node');
    expect(refusalOf(log, { type: 'labels', nodeId, labels: {} })).toBe('unknown_node');
  });

  test('changes one coordinator an entry, and never takes the last', () => {
    const log = new TestLog();
    const demote = (nodeId: string) => ({ type: 'roles' as const, nodeId, roles: ['storage'] });
    expect(refusalOf(log, demote(north), demote(east))).toBe('several_coordinator_changes');
    expect(
      refusalOf(log, { type: 'remove', nodeId: north }, { type: 'admit', member: memberOf('west', ['coordinator']) }),
    ).toBe('several_coordinator_changes');
    expect(refusalOf(log, demote(north), { type: 'roles', nodeId: north, roles: ['coordinator'] })).toBeUndefined();
    log.add({ type: 'remove', nodeId: north });
    log.add({ type: 'remove', nodeId: east });
    expect(refusalOf(log, { type: 'remove', nodeId: south })).toBe('last_coordinator');
    expect(refusalOf(log, demote(south))).toBe('last_coordinator');
  });

  test('has at most seven coordinators', () => {
    const log = new TestLog();
    for (const name of ['a', 'b', 'c', 'd']) {
      log.know(name);
      log.add({ type: 'admit', member: memberOf(name, ['coordinator']) });
    }
    expect(refusalOf(log, { type: 'admit', member: memberOf('e', ['coordinator']) })).toBe('too_many_coordinators');
  });

  test('warns of an even number of coordinators, and allows it', () => {
    const log = new TestLog();
    expect(warningsOf(log.state)).toEqual([]);
    log.add({ type: 'admit', member: memberOf('west', ['coordinator']) });
    expect(warningsOf(log.state)).toEqual([expect.stringMatching(/^4 coordinators/)]);
  });

  test('keeps what is said of a member through all that is said of it later', () => {
    const { state } = placementLog();
    const of = (name: string) => state.members.get(testNode(name).nodeId);
    expect(of('north')).toEqual({ ...memberOf('north', ['coordinator', 'storage']), capacity: 23 });
    expect(of('east')).toMatchObject({ addresses: [], capacity: 1 });
    expect(of('south')).toMatchObject({ capacity: 64, draining: true });
    expect(state.epoch).toBe(1);
    const log = placementLog();
    log.add({ type: 'drain', nodeId: south, draining: false }, { type: 'labels', nodeId: south, labels: { dc: 'b' } });
    expect(log.state.members.get(south)).toEqual({
      ...memberOf('south', ['coordinator', 'storage'], { labels: { dc: 'b' } }),
      capacity: 64,
    });
    const { nodeId } = testNode('nobody');
    for (const fields of [
      { type: 'addresses', addresses: [] },
      { type: 'capacity', capacity: 3 },
      { type: 'drain', draining: true },
    ]) {
      expect(refusalOf(log, { nodeId, ...fields })).toBe('unknown_node');
    }
  });

  test('leaves the state it started from as it was, also when it refuses', () => {
    const log = sampleLog();
    const before = log.state;
    const seen = JSON.stringify([...before.members, ...before.removed, ...before.namespaces]);
    const admit = { type: 'admit', member: memberOf('new') };
    expect(refusalOf(log, admit, { type: 'remove', nodeId: testNode('nobody').nodeId })).toBe('unknown_node');
    expect(refusalOf(log, admit, { type: 'remove', nodeId: testNode('new').nodeId })).toBeUndefined();
    expect(JSON.stringify([...before.members, ...before.removed, ...before.namespaces])).toBe(seen);
    expect(before.operations.get(operationId('asked 0'))).toBeUndefined();
  });
});

describe('the certificate of an entry', () => {
  const log = new TestLog();
  const good = log.certify(log.draft([{ type: 'admit', member: memberOf('west', ['coordinator']) }]));

  test('is by those who were coordinators before it', () => {
    expect(checkEntryCertificate(log.state, good.entry, good.certificate)).toBeUndefined();
  });

  test('is not by a minority, for another cluster, place, epoch or entry', () => {
    const { entry, certificate } = good;
    const { statement } = certificate;
    const faultOf = (change: object, state = log.state) =>
      checkEntryCertificate(state, entry, { ...certificate, statement: { ...statement, ...change } });
    expect(checkEntryCertificate(log.state, entry, log.certify(entry, 1).certificate)).toMatch(/majority/);
    expect(faultOf({}, { ...log.state, cluster: 'q'.repeat(52) as ClusterId })).toMatch(/majority/);
    expect(faultOf({ position: 2 })).toMatch(/another place/);
    expect(faultOf({ epoch: 2 })).toMatch(/epoch 2/);
    expect(faultOf({ register: entry.hash })).toMatch(/another register/);
    expect(faultOf({ head: log.cluster })).toMatch(/hash/);
  });
});

test('a policy comes to what it says, and to the defaults for the rest', () => {
  expect(effectivePolicy()).toMatchObject({ replicas: 3, diversity: {}, readMode: 'preferred' });
  expect(effectivePolicy({ replicas: 1, chunking: 'small' })).toMatchObject({
    replicas: 1,
    chunking: { max: 262_144 },
  });
});
