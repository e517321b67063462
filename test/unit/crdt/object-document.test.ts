import * as Automerge from '@automerge/automerge';
import { describe, expect, test } from 'vitest';
import { rawHash, toHex } from '../../../crdt/digest.ts';
import type { ClusterId, VersionId } from '../../../crdt/ids.ts';
import { buildChange, documentId, openDocument, slotOf } from '../../../crdt/object-document.ts';
import { decodeVersion, type Version } from '../../../crdt/version.ts';
import { readVectors } from '../../support/vectors/index.ts';
import { accepted, contentOf, testCluster, testNode, write } from '../../support/versions.ts';

const vectors = readVectors('object-document');
const alice = testNode('alice');
const bytesOf = (base64: string): Uint8Array => new Uint8Array(Buffer.from(base64, 'base64'));

describe('a document id', () => {
  test.each(vectors.documents)('of $ns/$key is the one of the vector, in its slots', ({ ns, key, id, slots }) => {
    expect(documentId(testCluster, ns, key)).toBe(id);
    for (const { slots: count, slot } of slots) expect(slotOf(id, count)).toBe(slot);
  });

  test('differs between clusters', () => {
    expect(documentId('another' as ClusterId, 'docs', 'a')).not.toBe(documentId(testCluster, 'docs', 'a'));
  });

  test('has slots in powers of two up to 4,096 only', () => {
    const id = documentId(testCluster, 'docs', 'a');
    for (const slots of [0, -1, 3, 1.5, 8_192, Number.NaN]) expect(() => slotOf(id, slots)).toThrow(RangeError);
  });
});

describe('the change of a version', () => {
  test.each(vectors.changes)(
    '"$name" has the bytes and the hash of the vector',
    ({ text, parentHashes, bytes, hash }) => {
      const version = accepted(decodeVersion(text));
      for (const order of [parentHashes, parentHashes.toReversed()]) {
        expect(buildChange(version, order)).toEqual({ bytes: bytesOf(bytes), hash });
      }
    },
  );

  test.each(vectors.changes)(
    '"$name" says what Automerge reads from it',
    ({ text, version, parentHashes, bytes, hash }) => {
      const decoded = Automerge.decodeChange(bytesOf(bytes));
      expect(decoded).toMatchObject({ hash, seq: 1, time: 0, message: null, deps: parentHashes.toSorted() });
      expect(decoded.actor).toBe(toHex(rawHash(version)));
      expect(decoded.startOp).toBe(accepted(decodeVersion(text)).record.generation);
      expect(decoded.ops).toMatchObject([{ action: 'set', obj: '_root', key: `v/${version}`, value: text, pred: [] }]);
    },
  );

  test('of the largest record is not compressed, so its hash is that of its bytes', () => {
    const meta = Object.fromEntries(Array.from({ length: 80 }, (_, at) => [`name${at}`, 'x'.repeat(90)]));
    const { bytes, hash } = buildChange(write(alice, [], { meta, key: 'k'.repeat(1_024) }), []);
    expect(bytes.length).toBeGreaterThan(8_000);
    expect(Automerge.decodeChange(bytes).hash).toBe(hash);
  });
});

describe('an object document', () => {
  const changes = vectors.changes.map(({ bytes }) => bytesOf(bytes));

  test('has the heads and the records of its versions, in whatever order the changes come', () => {
    for (const order of [changes, changes.toReversed()]) {
      const document = openDocument(order);
      expect(document.heads()).toEqual(vectors.heads);
      expect(document.versions()).toEqual(vectors.changes.map(({ version }) => version).sort());
      for (const { version, text } of vectors.changes) expect(document.recordText(version)).toBe(text);
      expect(document.recordText('toString' as VersionId)).toBeUndefined();
      document.free();
    }
  });

  test('holds the very same changes after it was saved and loaded', () => {
    const document = openDocument(changes);
    const saved = document.save();
    document.free();
    const again = openDocument([saved]);
    expect(again.heads()).toEqual(vectors.heads);
    again.free();
    const raw = Automerge.load(saved);
    const kept = Automerge.getAllChanges(raw).map((change) => Buffer.from(change).toString('base64'));
    expect(kept.sort()).toEqual(vectors.changes.map(({ bytes }) => bytes).sort());
    Automerge.free(raw);
  });

  test('takes more changes behind a saved document', () => {
    const first = openDocument(changes.slice(0, 3));
    const saved = first.save();
    first.free();
    const document = openDocument([saved, ...changes.slice(3)]);
    expect(document.heads()).toEqual(vectors.heads);
    document.free();
  });

  test('is empty without changes', () => {
    const document = openDocument([]);
    expect(document.heads()).toEqual([]);
    expect(document.versions()).toEqual([]);
    document.free();
  });

  test('does not open when a change is damaged, cut short, or lacks its parent', () => {
    const [first = expect.fail(), second = expect.fail()] = changes;
    const damaged = Uint8Array.from(first, (byte, at) => (at === 20 ? byte ^ 1 : byte));
    for (const bad of [[damaged], [first.subarray(0, -1)], [second], [Uint8Array.of(1, 2, 3)]]) {
      expect(() => openDocument(bad)).toThrow();
    }
  });

  test('keeps 300 heads apart', () => {
    const root = write(alice, []);
    const built = new Map<VersionId, { version: Version; hash: string; bytes: Uint8Array }>();
    const rootChange = buildChange(root, []);
    for (let at = 0; at < 300; at += 1) {
      const version = write(testNode(`n${at}`), [root], { content: contentOf(`${at}`) });
      built.set(version.id, { version, ...buildChange(version, [rootChange.hash]) });
    }
    const document = openDocument([rootChange.bytes, ...[...built.values()].map(({ bytes }) => bytes)]);
    expect(document.heads()).toEqual([...built.keys()].sort());
    document.free();
  });
});
