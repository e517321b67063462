import { randomBytes } from 'node:crypto';
import { beforeEach, describe, expect, it, type MockInstance, vi } from 'vitest';
import type { DocId, VersionId } from '../../../crdt/ids.ts';
import type { ObjectDocument } from '../../../crdt/object-document.ts';
import type { Version } from '../../../crdt/version.ts';
import { VirtualClock } from '../../../src/adapters/memory/clock.ts';
import { MemoryKv } from '../../../src/adapters/memory/kv.ts';
import { MemoryLog } from '../../../src/adapters/memory/log.ts';
import { MemoryMetrics } from '../../../src/adapters/memory/metrics.ts';
import { ObjectStore } from '../../../src/node/object-store.ts';
import { OpenDocuments } from '../../../src/node/open-documents.ts';
import { testCluster, testNode, write } from '../../support/versions.ts';

/** What may be open at once, in bytes of stored documents. */
const openBytesMax = 8 * 1_048_576;
/** A document of 140 versions with 7,500 bytes of meta data each has a little over a mebibyte; so seven may be open. */
const versionsOfDocument = 140;
const metaBytes = 7_500;
const openMax = 7;

const writer = testNode('writer');
let kv: MemoryKv;
let objects: ObjectStore;
let documents: OpenDocuments;
let loads: MockInstance<ObjectStore['documentParts']>;
let tips: Map<string, Version>;

beforeEach(() => {
  kv = new MemoryKv(new VirtualClock());
  objects = new ObjectStore({ cluster: testCluster, slots: 16 });
  documents = new OpenDocuments({ kv, objects, log: new MemoryLog(), metrics: new MemoryMetrics() });
  loads = vi.spyOn(objects, 'documentParts');
  tips = new Map();
});

/** Adds versions to an object, each on the one before. */
async function grow(key: string, versions: number): Promise<void> {
  await kv.transact((transaction) => {
    for (let count = 0; count < versions; count += 1) {
      const tip = tips.get(key);
      const meta = { note: randomBytes(metaBytes / 2).toString('hex') };
      const next = write(writer, tip === undefined ? [] : [tip], { key, meta });
      objects.append(transaction, next);
      tips.set(key, next);
    }
  });
}

const idOf = (key: string): DocId => objects.documentId('docs', key);
const bytesOf = (key: string): number =>
  objects.documentParts(kv, idOf(key)).reduce((sum, { length }) => sum + length, 0);

async function open(key: string): Promise<ObjectDocument> {
  return (await documents.get(idOf(key))) ?? expect.fail(`${key} is not there`);
}

/** Whether asking for a document loads it from disk. */
async function isLoaded(key: string): Promise<boolean> {
  loads.mockClear();
  await open(key);
  return loads.mock.calls.length > 0;
}

const tipOf = (key: string): VersionId[] => [tips.get(key)?.id as VersionId];

describe('open documents', () => {
  const keys = Array.from({ length: openMax + 1 }, (_, at) => `key-${at}`);
  const [first = '', second = '', third = ''] = keys;

  it('are as many as have room, and then the one that was used longest ago is closed, and opened again as it was', async () => {
    for (const key of keys) await grow(key, versionsOfDocument);
    expect(bytesOf(first) * openMax).toBeLessThan(openBytesMax);
    expect(bytesOf(first) * (openMax + 1)).toBeGreaterThan(openBytesMax);
    const opened = await open(first);
    for (const key of keys.slice(1, openMax)) await open(key);
    // All have room, and the first is now the one that was used last.
    for (const key of keys.slice(1, openMax)) expect(await isLoaded(key)).toBe(false);
    expect(await isLoaded(first)).toBe(false);
    expect(opened.heads()).toEqual(tipOf(first));
    const closed = await open(second).then(async (document) => {
      await open(first);
      for (const key of keys.slice(2, openMax)) await open(key);
      return document;
    });
    // The last of them has none: only the second goes, and its memory with it.
    await open(keys[openMax] as string);
    expect(() => closed.heads()).toThrow();
    expect(await isLoaded(first)).toBe(false);
    expect(await isLoaded(third)).toBe(false);
    expect(await isLoaded(second)).toBe(true);
    const again = await open(second);
    expect(again.heads()).toEqual(tipOf(second));
    expect(again.versions()).toHaveLength(versionsOfDocument);
  });

  it('are loaded anew when a version was added, without taking up the room of what they were', async () => {
    for (const key of keys.slice(0, openMax - 1)) await grow(key, versionsOfDocument);
    for (const key of keys.slice(0, openMax - 1)) await open(key);
    for (let round = 1; round <= 3; round += 1) {
      await grow(second, 1);
      expect(await isLoaded(second)).toBe(true);
      expect((await open(second)).versions()).toHaveLength(versionsOfDocument + round);
    }
    for (const key of keys.slice(0, openMax - 1)) expect(await isLoaded(key), key).toBe(false);
  });

  it('are one when one has more bytes than all may have, and all are closed on demand', async () => {
    await grow('small', 1);
    await grow('large', versionsOfDocument * (openMax + 2));
    expect(bytesOf('large')).toBeGreaterThan(openBytesMax);
    await open('small');
    const large = await open('large');
    expect(large.versions()).toHaveLength(versionsOfDocument * (openMax + 2));
    expect(await isLoaded('large')).toBe(false);
    expect(await isLoaded('small')).toBe(true);
    expect(await isLoaded('small')).toBe(false);
    expect(() => large.heads()).toThrow();
    documents.clear();
    expect(await isLoaded('small')).toBe(true);
  });
});
