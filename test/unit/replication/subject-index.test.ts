import { expect, test } from 'vitest';
import { blobHashOf } from '../../../crdt/digest.ts';
import type { DocId, NodeId, VersionId } from '../../../crdt/ids.ts';
import { VirtualClock } from '../../../src/adapters/memory/clock.ts';
import { MemoryKv } from '../../../src/adapters/memory/kv.ts';
import { MemoryLog } from '../../../src/adapters/memory/log.ts';
import type { KvReader } from '../../../src/ports/kv.ts';
import type { Subject } from '../../../src/replication/subject.ts';
import { SubjectIndex, type SubjectRecord, type VersionSource } from '../../../src/replication/subject-index.ts';
import { idOf } from '../../support/made-ids.ts';

const patienceMs = 600_000;

/** A node's versions in memory, in the order in which they came. */
class Versions implements VersionSource {
  readonly #changed: DocId[] = [];
  readonly #records = new Map<VersionId, SubjectRecord>();
  readonly #heads = new Map<DocId, Set<VersionId>>();
  readonly damaged = new Set<VersionId>();
  reads = 0;
  /** Called whenever somebody asks what has changed. */
  onRead = (): void => undefined;

  write(key: string, name: string, parents: readonly string[] = [], text: string | null = name): VersionId {
    const version = idOf<VersionId>(`version ${name}`);
    const bytes = Buffer.from(text ?? '');
    this.#records.set(version, {
      ns: 'docs',
      key,
      parents: parents.map((parent) => idOf<VersionId>(`version ${parent}`)),
      generation:
        1 + Math.max(0, ...parents.map((parent) => this.#records.get(idOf(`version ${parent}`))?.generation ?? 0)),
      content: text === null ? null : { manifest: blobHashOf(bytes), size: bytes.length, b3: '' },
      node: 'node' as NodeId,
      time: 0,
    });
    const doc = idOf<DocId>(`doc ${key}`);
    const heads = this.#heads.get(doc) ?? new Set<VersionId>();
    for (const parent of parents) heads.delete(idOf<VersionId>(`version ${parent}`));
    this.#heads.set(doc, heads.add(version));
    this.#changed.push(doc);
    return version;
  }

  changedAfter(_reader: KvReader, change: number, limit: number): { doc: DocId; change: number }[] {
    this.onRead();
    return this.#changed.slice(change, change + limit).map((doc, at) => ({ doc, change: change + at + 1 }));
  }

  headsOf(_reader: KvReader, doc: DocId): VersionId[] {
    return [...(this.#heads.get(doc) ?? [])];
  }

  record(_reader: KvReader, version: VersionId): SubjectRecord | undefined {
    this.reads += 1;
    return this.damaged.has(version) ? undefined : this.#records.get(version);
  }
}

function setUp() {
  const clock = new VirtualClock();
  const kv = new MemoryKv(clock, { flushDelayMs: 1 });
  const versions = new Versions();
  const open = (): SubjectIndex => new SubjectIndex({ kv, clock, log: new MemoryLog(), versions });
  const run = <T>(promise: Promise<T>): Promise<T> => clock.run(promise, patienceMs);
  const all = (index: SubjectIndex, after?: Subject): Promise<Subject[]> =>
    run(
      (async () => {
        const subjects: Subject[] = [];
        for await (const page of index.walk(after)) subjects.push(...page);
        return subjects;
      })(),
    );
  return { kv, versions, open, run, all };
}

test('has every version with content, heads of branches and ancestors alike, and no tombstone', async () => {
  const { versions, open, run, all } = setUp();
  versions.write('a', 'one');
  versions.write('a', 'left', ['one']);
  versions.write('a', 'right', ['one']);
  versions.write('b', 'kept');
  versions.write('b', 'deleted', ['kept'], null);
  const index = open();
  await run(index.catchUp());
  expect((await all(index)).map(({ version }) => version).sort()).toEqual(
    ['one', 'left', 'right', 'kept'].map((name) => idOf<VersionId>(`version ${name}`)).sort(),
  );
});

test('goes on from where it was, reading only what is new', async () => {
  const { versions, open, run, all } = setUp();
  for (let key = 0; key < 300; key += 1) versions.write(`key ${key}`, `version ${key}`);
  await run(open().catchUp());
  versions.reads = 0;
  versions.write('key 7', 'second', ['version 7']);
  const index = open();
  await run(index.catchUp());
  expect(versions.reads).toBe(1);
  expect(await all(index)).toHaveLength(301);
});

test('catches up with a node that is written to without a rest', async () => {
  const { versions, open, run, all } = setUp();
  for (let key = 0; key < 300; key += 1) versions.write(`key ${key}`, `version ${key}`);
  let more = 0;
  versions.onRead = () => {
    more += 1;
    if (more < 10_000) versions.write(`more ${more}`, `another ${more}`);
  };
  const index = open();
  await run(index.catchUp());
  expect((await all(index)).filter(({ key }) => key.startsWith('key '))).toHaveLength(300);
  expect(more).toBeLessThan(100);
});

test('finds the versions with one content, under whatever names', async () => {
  const { versions, open, run } = setUp();
  versions.write('a', 'one', [], 'same');
  versions.write('b', 'two', [], 'same');
  versions.write('c', 'three', [], 'other');
  const index = open();
  await run(index.catchUp());
  const found = index.subjectsOf(blobHashOf(Buffer.from('same')));
  expect(found.map(({ key }) => key).sort()).toEqual(['a', 'b']);
  expect(found[0]).toMatchObject({ ns: 'docs', sizeBytes: 4 });
  expect(index.subjectsOf(blobHashOf(Buffer.from('none')))).toEqual([]);
});

test('tells a transaction of contents that came since it caught up, or that they are too many', async () => {
  const { kv, versions, open, run } = setUp();
  versions.write('a', 'one');
  const index = open();
  await run(index.catchUp());
  expect(index.newContents(kv)).toEqual(new Set());
  versions.write('b', 'two');
  expect(index.newContents(kv)).toEqual(new Set([blobHashOf(Buffer.from('two'))]));
  for (let key = 0; key < 300; key += 1) versions.write(`key ${key}`, `version ${key}`);
  expect(index.newContents(kv)).toBeUndefined();
});

test('finds what a damaged record hid once that can be read again', async () => {
  const { kv, versions, open, run, all } = setUp();
  versions.write('a', 'root');
  const damaged = versions.write('a', 'middle', ['root']);
  versions.write('a', 'head', ['middle']);
  versions.damaged.add(damaged);
  const index = open();
  expect(index.newContents(kv)).toBeUndefined();
  await run(index.catchUp());
  expect(await all(index)).toHaveLength(1);
  // What it has could be any content: none of them is known to be needed by nobody else.
  expect(index.newContents(kv)).toBeUndefined();
  // Another change of the document does not make it forget.
  versions.write('a', 'next', ['head']);
  await run(index.catchUp());
  expect(await all(index)).toHaveLength(2);
  versions.damaged.clear();
  const later = open();
  await run(later.catchUp());
  expect(await all(later)).toHaveLength(4);
  expect(later.newContents(kv)).toEqual(new Set());
  versions.reads = 0;
  await run(later.catchUp());
  expect(versions.reads).toBe(0);
});

test('walks on from any subject', async () => {
  const { versions, open, run, all } = setUp();
  for (let key = 0; key < 600; key += 1) versions.write(`key ${key}`, `version ${key}`);
  const index = open();
  await run(index.catchUp());
  const subjects = await all(index);
  expect(subjects).toHaveLength(600);
  expect(await all(index, subjects[299])).toEqual(subjects.slice(300));
});

test('takes in a long history in turns', async () => {
  const { versions, open, run, all } = setUp();
  versions.write('a', 'v 0');
  for (let at = 1; at < 500; at += 1) versions.write('a', `v ${at}`, [`v ${at - 1}`]);
  const index = open();
  await run(index.catchUp());
  expect(await all(index)).toHaveLength(500);
});
