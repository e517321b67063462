import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { VersionId } from '../../crdt/ids.ts';
import type { Version } from '../../crdt/version.ts';
import { VirtualClock } from '../../src/adapters/memory/clock.ts';
import { MemoryKv } from '../../src/adapters/memory/kv.ts';
import { ObjectStore } from '../../src/node/object-store.ts';
import type { Kv } from '../../src/ports/kv.ts';
import { runs } from '../support/property-runs.ts';
import { type RandomHistory, randomHistory } from '../support/random-history.ts';
import { testCluster, testNode, write } from '../support/versions.ts';

async function stored(versions: readonly Version[]): Promise<{ objects: ObjectStore; kv: MemoryKv }> {
  const objects = new ObjectStore({ cluster: testCluster, slots: 16 });
  const kv = new MemoryKv(new VirtualClock());
  await kv.transact((transaction) => {
    for (const version of versions) objects.append(transaction, version);
  });
  return { objects, kv };
}

async function agrees({ versions, ancestors }: RandomHistory): Promise<void> {
  const { objects, kv } = await stored(versions);
  const isAncestor = objects.ancestry(kv);
  for (const { id: younger } of versions) {
    for (const { id: elder } of versions) {
      expect(isAncestor(elder, younger)).toBe(ancestors.get(younger)?.has(elder) ?? false);
    }
  }
}

describe('whether a stored version is an ancestor of another', () => {
  test('is what the parents say', async () => {
    await fc.assert(fc.asyncProperty(randomHistory({ stepsMax: 20 }), agrees), runs(1));
  });

  test('is what the parents say where dots were issued twice', async () => {
    await fc.assert(fc.asyncProperty(randomHistory({ stepsMax: 20, clones: true }), agrees), runs(2));
  });

  test('is known in a few looks, however much is between the two', async () => {
    const versions: Version[] = [];
    for (let count = 0; count < 2_000; count += 1) versions.push(write(testNode('writer'), versions.slice(-1)));
    const { objects, kv } = await stored(versions);
    let looks = 0;
    const counted = {
      get(key: Uint8Array) {
        looks += 1;
        return kv.get(key);
      },
    } as Kv;
    const [first, last] = [versions[0], versions.at(-1)].map((version) => version?.id) as [VersionId, VersionId];
    expect(objects.ancestry(counted)(first, last)).toBe(true);
    expect(objects.ancestry(counted)(last, first)).toBe(false);
    expect(looks).toBeLessThan(8);
  });
});
