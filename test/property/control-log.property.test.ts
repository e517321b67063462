import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  decodeCheckpointLine,
  decodeLogLine,
  encodeCheckpointLine,
  encodeLogLine,
} from '../../crdt/control/checkpoint.ts';
import { decodeEntry, encodeEntry } from '../../crdt/control/entry.ts';
import { MemoryIndex } from '../../crdt/control/growing-index.ts';
import type { Role } from '../../crdt/control/member.ts';
import type { ControlOperation } from '../../crdt/control/operations.ts';
import { placementNodes } from '../../crdt/control/placement-nodes.ts';
import { type ControlState, coordinatorsOf, votersAmong } from '../../crdt/control/state.ts';
import { decodeState, encodeState } from '../../crdt/control/state-text.ts';
import { draftEntry, foldEntry } from '../../crdt/control-log.ts';
import { verifyControlLog } from '../../crdt/control-verify.ts';
import { memberOf, operationId, placementLog, sampleLog, TestLog } from '../support/control-log.ts';
import { runs } from '../support/property-runs.ts';
import { accepted, testNode } from '../support/versions.ts';

const names = ['north', 'east', 'south', 'west', 'a', 'b', 'c', 'd'];
const name = fc.constantFrom(...names);
const roles = fc.subarray<Role>(['agent', 'coordinator', 'storage'], { minLength: 1 }).map((drawn) => drawn.toSorted());
const label = fc.dictionary(fc.constantFrom('dc', 'rack'), fc.constantFrom('a', 'b'), { noNullPrototype: true });

const operation = fc.oneof(
  fc.record({
    type: fc.constant('admit'),
    member: fc
      .tuple(name, roles, fc.nat(2))
      .map(([who, what, key]) => memberOf(who, what, key === 0 ? {} : { peerId: memberOf(`${who} ${key}`).peerId })),
  }),
  fc.record({ type: fc.constant('remove'), nodeId: name.map((who) => testNode(who).nodeId) }),
  fc.record({ type: fc.constant('roles'), nodeId: name.map((who) => testNode(who).nodeId), roles }),
  fc.record({ type: fc.constant('labels'), nodeId: name.map((who) => testNode(who).nodeId), labels: label }),
  fc.record({
    type: fc.constant('addresses'),
    nodeId: name.map((who) => testNode(who).nodeId),
    addresses: fc.subarray(['/ip4/10.0.0.1/tcp/1', '/ip4/10.0.0.2/tcp/2']),
  }),
  fc.record({
    type: fc.constant('capacity'),
    nodeId: name.map((who) => testNode(who).nodeId),
    capacity: fc.integer({ min: 1, max: 64 }),
  }),
  fc.record({
    type: fc.constant('drain'),
    nodeId: name.map((who) => testNode(who).nodeId),
    draining: fc.boolean(),
  }),
  fc.record({
    type: fc.constant('namespace'),
    ns: fc.constantFrom('docs', 'apps'),
    policy: fc.record({ replicas: fc.integer({ min: 1, max: 16 }) }),
  }),
  fc.record({
    type: fc.constant('configuration'),
    scope: fc.constantFrom('cluster', 'group/a'),
    values: fc.dictionary(fc.constantFrom('a', 'b'), fc.jsonValue({ maxDepth: 2 }), { noNullPrototype: true }),
  }),
);
/** What administrators ask for, one entry after another; many of them are refused. */
const history = fc.array(fc.array(operation, { minLength: 1, maxLength: 3 }), { maxLength: 25 });

/** Everything in a state but the operation ids. */
const seen = (state: ControlState): string => encodeState(state);

test('whatever is asked for, the state keeps its rules, and each entry changes it as a whole or not at all', () => {
  fc.assert(
    fc.property(history, (asked) => {
      let { state } = new TestLog();
      for (const [at, drawn] of asked.entries()) {
        const before = seen(state);
        const operations = drawn.map((each, index) => ({
          ...each,
          id: operationId(`${at}/${index}`),
        })) as ControlOperation[];
        const drafted = draftEntry(state, { operations, actor: 'ada', reason: '', time: at });
        expect(seen(state)).toBe(before);
        if (!drafted.ok) continue;
        const next = accepted(foldEntry(state, drafted.value));
        expect(seen(accepted(foldEntry(state, accepted(decodeEntry(drafted.value.text)))))).toBe(seen(next));
        expect(seen(state)).toBe(before);
        checkRules(state, next);
        state = next;
      }
    }),
  );
});

function checkRules(before: ControlState, after: ControlState): void {
  const members = [...after.members.values()];
  for (const field of ['name', 'nodeId', 'peerId'] as const) {
    expect(new Set(members.map((member) => member[field])).size).toBe(members.length);
  }
  expect(members.some(({ peerId }) => after.removed.get(peerId) !== undefined)).toBe(false);
  const [old, now] = [before, after].map((state) => new Set(coordinatorsOf(state).map(({ peerId }) => peerId)));
  expect(now?.size).toBeGreaterThan(0);
  const changes = [...(old ?? []), ...(now ?? [])].filter((peer) => !(old?.has(peer) && now?.has(peer))).length;
  expect(changes).toBeLessThanOrEqual(1);
  expect(after.epoch).toBe(before.epoch + changes);
  expect(after.epochs).toHaveLength(after.epoch);
  expect(coordinatorsOf(after)).toEqual(votersAmong(after.members));
  expect(after.seq).toBe(before.seq + 1);
  const placed = placementNodes(after);
  expect(placed.every(({ weight }) => weight >= Math.SQRT2 && weight <= 2 ** 32)).toBe(true);
  expect(placed.map(({ nodeId }) => nodeId)).toEqual(
    members.flatMap((each) => (each.roles.includes('storage') && !each.draining ? each.nodeId : [])).toSorted(),
  );
}

test('a state that was written and read again is the same state', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 6 }), fc.constantFrom(sampleLog, placementLog), (count, sample) => {
      const log = new TestLog();
      log.know('west');
      for (const certified of sample().entries.slice(0, count)) log.append(certified);
      const again = decodeState(encodeState(log.state), log.state.operations);
      expect({ ...again, removed: [...again.removed] }).toEqual({ ...log.state, removed: [...log.state.removed] });
    }),
    runs(0.2),
  );
});

test('an index is at every moment what it was, whatever became of it later', () => {
  const steps = fc.array(fc.tuple(fc.nat(20), fc.integer({ min: 1, max: 3 })), { maxLength: 30 });
  fc.assert(
    fc.property(steps, (drawn) => {
      const moments: { index: MemoryIndex<number>; model: Map<string, number> }[] = [
        { index: MemoryIndex.empty(), model: new Map() },
      ];
      for (const [at, [from, count]] of drawn.entries()) {
        const { index, model } = moments[from % moments.length] ?? expect.fail();
        const added = Array.from({ length: count }, (_, key) => [`${at}/${key}`, at] as const);
        moments.push({ index: index.with(added), model: new Map([...model, ...added]) });
      }
      const keys = moments.flatMap(({ model }) => [...model.keys()]);
      for (const { index, model } of moments) {
        expect([...index]).toEqual([...model]);
        for (const key of keys) expect(index.get(key)).toBe(model.get(key));
      }
    }),
  );
});

const sound = sampleLog().lines();

/** Some bytes of a text overwritten, cut out or put in. */
const mutant = fc
  .tuple(
    fc.constantFrom(...sound),
    fc.nat(5_000),
    fc.nat(6),
    fc.oneof(fc.string(), fc.constantFrom('null', '{', '-0', '[]')),
  )
  .map(([line, at, cut, text]) => line.slice(0, at % line.length) + text + line.slice((at % line.length) + cut));

test('the decoders throw nothing, and take nothing that they would not write', () => {
  fc.assert(
    fc.property(fc.oneof(mutant, fc.string()), (text) => {
      const entry = decodeEntry(text);
      if (entry.ok) expect(accepted(encodeEntry(entry.value.entry)).text).toBe(text);
      const line = decodeLogLine(text);
      if (line.ok) expect(encodeLogLine(line.value)).toBe(text);
      const checkpoint = decodeCheckpointLine(text);
      if (checkpoint.ok) expect(encodeCheckpointLine(checkpoint.value)).toBe(text);
    }),
    runs(5),
  );
});

test('a log in which one line was changed does not hold, and the line is named', () => {
  const changes = fc.tuple(fc.nat(sound.length - 1), fc.nat(5_000), fc.nat(4), fc.string({ maxLength: 4 }));
  fc.assert(
    fc.property(changes, ([which, where, cut, text]) => {
      const line = sound[which] ?? '';
      const at = where % line.length;
      const changed = line.slice(0, at) + text + line.slice(at + cut);
      if (changed === line) return;
      const verified = verifyControlLog(sound.with(which, changed));
      const expected = which === sound.length - 1 ? 'checkpoint' : which;
      expect(verified.ok ? 'nothing' : verified.error.at).toBe(expected);
    }),
  );
});
