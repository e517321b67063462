import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { blake3, blobHashOf, rawHash, toBase32 } from '../../../../crdt/digest.ts';
import type { BlobHash, DocId, VersionId } from '../../../../crdt/ids.ts';
import type { Outcome } from '../../../../protocols/quorum/register-kind.ts';
import { VirtualClock } from '../../../../src/adapters/memory/clock.ts';
import { MemoryKv } from '../../../../src/adapters/memory/kv.ts';
import { MemoryLog } from '../../../../src/adapters/memory/log.ts';
import { MemoryMetrics } from '../../../../src/adapters/memory/metrics.ts';
import { SeededRandom } from '../../../../src/adapters/memory/random.ts';
import { changeFeed } from '../../../../src/node/change-feed.ts';
import { ConfirmationWorker } from '../../../../src/node/confirmation/confirmation-worker.ts';
import type { ObjectStore } from '../../../../src/node/object-store.ts';
import type { ObjectRow } from '../../../../src/node/rows.ts';
import { testNode } from '../../../support/versions.ts';

vi.setConfig({ testTimeout: 120_000 });

const patienceMs = 600_000;
const { nodeId } = testNode('writer');

let clock: VirtualClock;
let kv: MemoryKv;
let worker: ConfirmationWorker;
let proved: (manifest: BlobHash) => void;
let rows: Map<DocId, ObjectRow>;
let backed: Set<string>;
let proposed: string[];
/** Versions whose records are damaged. */
let damaged: Set<string>;

const hashOf = (text: string): string => toBase32(blake3(Buffer.from(text)));
const docOf = (_ns: string, key: string): DocId => hashOf(`object ${key}`) as DocId;
const keyOf = new Map<VersionId, string>();

/** Stands for the store: every object has one version, and its id says which. */
const objects = {
  object: (_: unknown, doc: DocId) => rows.get(doc),
  documentId: docOf,
  damaged: () => [],
  ancestry: () => () => true,
  sound: (_: unknown, id: VersionId) => {
    const name = keyOf.get(id) ?? '';
    return damaged.has(name) ? undefined : { id, record: { content: { manifest: contentOf(name) } } };
  },
} as unknown as ObjectStore;

const contentOf = (key: string): BlobHash => blobHashOf(Buffer.from(key));

async function propose(doc: DocId, head: VersionId): Promise<Outcome> {
  const row = rows.get(doc) as ObjectRow;
  proposed.push(keyOf.get(head) ?? '');
  rows.set(doc, { ...row, heads: row.heads.map((each) => ({ ...each, node: testNode('confirmed').nodeId })) });
  return { kind: 'confirmed' } as unknown as Outcome & { head: typeof head };
}

/** Writes objects, each with a head of its name, and with more of other names. */
async function write(keys: readonly string[], others: readonly string[] = []): Promise<void> {
  const written = keys.map((key): [DocId, ObjectRow] => {
    const heads = [key, ...others].map((name, generation) => {
      const id = hashOf(`version ${name}`) as VersionId;
      keyOf.set(id, name);
      return { id, generation, kind: 'put', size: 1, time: 0, author: 'admin', node: nodeId } as const;
    });
    const change = rows.size + 1;
    const row = { ns: 'test', key, heads, versions: heads.length, dots: {}, increments: 1, change };
    rows.set(docOf('test', key), row);
    return [docOf('test', key), row];
  });
  await kv.transact((transaction) => {
    for (const [doc, { change }] of written) changeFeed.append(transaction, rawHash(doc), change, undefined);
  });
  for (const [doc, row] of written) worker.changed(doc, row);
}

const keys = (name: string, count: number): string[] => Array.from({ length: count }, (_, at) => `${name} ${at}`);

beforeEach(() => {
  clock = new VirtualClock();
  kv = new MemoryKv(clock);
  [rows, backed, proposed, damaged] = [new Map(), new Set(), [], new Set()];
  worker = new ConfirmationWorker(
    {
      kv,
      clock,
      random: new SeededRandom('worker'),
      objects,
      engine: { propose },
      log: new MemoryLog(),
      metrics: new MemoryMetrics(),
      available: () => true,
      writesUnderWay: () => 0,
      copies: {
        isBacked: ({ id }) => backed.has(keyOf.get(id) ?? ''),
        onProved: (listener) => {
          proved = listener;
          return () => undefined;
        },
      },
    },
    { nodeId },
  );
  worker.start();
});
afterEach(async () => {
  await clock.run(worker.stop(), patienceMs);
});

test('an object that has its copies is confirmed, however many others wait for theirs', async () => {
  const lacking = keys('lacking', 70_000);
  for (let start = 0; start < lacking.length; start += 4_096) {
    await write(lacking.slice(start, start + 4_096));
    await clock.advance(2_000);
  }
  backed.add('other');
  await write(['other']);
  await clock.advance(5_000);
  expect(proposed).toEqual(['other']);
  for (const key of lacking) backed.add(key);
  await clock.runUntil(() => proposed.length > lacking.length, patienceMs);
  expect(new Set(proposed).size).toBe(lacking.length + 1);
});

test('an object that waited for copies is confirmed as soon as they are proved', async () => {
  await write(['one', 'other']);
  await clock.advance(1_000);
  expect([worker.pending, worker.waitingForCopies]).toEqual([2, 2]);
  backed.add('one');
  proved(contentOf('one'));
  await clock.advance(1_000);
  expect(proposed).toEqual(['one']);
  expect([worker.pending, worker.waitingForCopies]).toEqual([1, 1]);
});

test('what fewer copies are enough for is found without a proof, some at a time', async () => {
  const waiting = keys('waiting', 2_000);
  await write(waiting);
  await clock.advance(10_000);
  for (const key of waiting) backed.add(key);
  await clock.advance(100_000);
  expect(proposed).toEqual([]);
  await clock.runUntil(() => proposed.length > 0, 60_000);
  await clock.advance(100);
  expect(proposed.length).toBeLessThan(1_000);
  await clock.advance(5_000);
  expect([...proposed].sort()).toEqual(waiting.sort());
  expect(worker.pending).toBe(0);
});

test('a head that has its copies does not wait for a greater one beside it that has none', async () => {
  backed.add('lesser');
  await write(['lesser'], ['greater']);
  await clock.advance(1_000);
  expect(proposed).toEqual(['lesser']);
  expect([worker.pending, worker.waitingForCopies]).toEqual([0, 0]);
});

test('of several heads that have their copies the greatest is proposed', async () => {
  for (const name of ['least', 'middle']) backed.add(name);
  await write(['least'], ['middle', 'greatest']);
  await clock.advance(1_000);
  expect(proposed).toEqual(['middle']);
});

test('a head whose record is damaged is not proposed, in whatever company, before it is mended and has its copies', async () => {
  for (const name of ['alone', 'lesser', 'greater']) damaged.add(name);
  await write(['alone']);
  await write(['lesser'], ['greater']);
  damaged.delete('greater');
  await clock.advance(600_000);
  expect(proposed).toEqual([]);
  damaged.clear();
  await clock.advance(600_000);
  expect(proposed).toEqual([]);
  for (const name of ['alone', 'greater']) {
    backed.add(name);
    proved(contentOf(name));
  }
  await clock.advance(5_000);
  expect(proposed.sort()).toEqual(['alone', 'greater']);
});
