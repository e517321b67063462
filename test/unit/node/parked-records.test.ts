import { expect, it } from 'vitest';
import type { DocId } from '../../../crdt/ids.ts';
import type { Version } from '../../../crdt/version.ts';
import { ParkedRecords } from '../../../src/node/parked-records.ts';
import { testNode, write } from '../../support/versions.ts';

const doc = 'doc' as DocId;
const writer = testNode('writer');

/** Children of one version that is not here, and a version of each child's own that is not here either. */
function orphans(count: number): { readonly parent: Version; readonly children: readonly Version[] } {
  const parent = write(writer, []);
  return { parent, children: Array.from({ length: count }, (_, at) => write(writer, [parent], { time: at + 1 })) };
}

const idsOf = (parked: readonly { readonly version: Version }[]) => parked.map(({ version }) => version.id);

it('gives back what waited for a version, once, however often it was parked', () => {
  const { parent, children } = orphans(3);
  const parked = new ParkedRecords();
  for (const version of [...children, ...children]) parked.add({ version, doc }, [parent.id]);
  expect(parked.size).toBe(3);
  expect(idsOf(parked.takeWaitingFor(parent.id)).sort()).toEqual(children.map(({ id }) => id).sort());
  expect(parked.size).toBe(0);
  expect(parked.takeWaitingFor(parent.id)).toEqual([]);
});

it('waits for each of several parents, and is given back with the first of them', () => {
  const [left, right] = [write(writer, []), write(writer, [], { time: 7 })];
  const merge = write(writer, [left, right]);
  const parked = new ParkedRecords();
  parked.add({ version: merge, doc }, [left.id, right.id]);
  expect(idsOf(parked.takeWaitingFor(right.id))).toEqual([merge.id]);
  expect(parked.takeWaitingFor(left.id)).toEqual([]);
});

it('holds no more records than its bound, and lets go of those that waited longest', () => {
  const { parent, children } = orphans(10);
  const parked = new ParkedRecords({ recordsMax: 4, bytesMax: 1_000_000 });
  for (const version of children) {
    parked.add({ version, doc }, [parent.id]);
    expect(parked.size).toBeLessThanOrEqual(4);
  }
  expect(idsOf(parked.takeWaitingFor(parent.id))).toEqual(children.slice(6).map(({ id }) => id));
});

it('holds no more bytes than its bound, and has all of that room again when they were taken', () => {
  const { parent, children } = orphans(10);
  const bytesMax = children.slice(0, 3).reduce((sum, { text }) => sum + text.length, 0) + 10;
  const parked = new ParkedRecords({ recordsMax: 1_000, bytesMax });
  for (let round = 0; round < 3; round += 1) {
    for (const version of children) parked.add({ version, doc }, [parent.id]);
    expect(idsOf(parked.takeWaitingFor(parent.id))).toEqual(children.slice(7).map(({ id }) => id));
  }
});
