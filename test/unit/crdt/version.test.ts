import { describe, expect, test } from 'vitest';
import { encodeCanonical } from '../../../crdt/canonical-json.ts';
import { contextEquals, decodeContext } from '../../../crdt/causality.ts';
import { blake3, fromHex, toHex } from '../../../crdt/digest.ts';
import type { ClusterId, Dot, VersionId } from '../../../crdt/ids.ts';
import { fromBase64Url, verifySignature } from '../../../crdt/signature.ts';
import {
  checkAgainstParents,
  decodeVersion,
  draftVersion,
  recallVersion,
  type Version,
  type VersionFields,
  verifyVersion,
} from '../../../crdt/version.ts';
import { VersionGraph } from '../../../crdt/version-graph.ts';
import { readVectors } from '../../support/vectors/index.ts';
import {
  accepted,
  actorOf,
  contentOf,
  fieldsOf,
  graphEntry,
  refusal,
  testNode,
  write,
} from '../../support/versions.ts';

const vectors = readVectors('version');
const [alice, bob, carol] = [testNode('alice'), testNode('bob'), testNode('carol')];
const key = (hex: string | undefined): Uint8Array => fromHex(hex ?? '') ?? expect.fail();

describe.each(vectors.records)('the record "$name"', (vector) => {
  const version = accepted(decodeVersion(vector.text));

  test('has the id, the signed text and the signature of the vector', () => {
    const { sig, ...unsigned } = version.record;
    expect(version.id).toBe(vector.id);
    expect(encodeCanonical(unsigned)).toBe(vector.unsigned);
    expect(toHex(blake3(Buffer.from(vector.unsigned, 'utf8')))).toBe(vector.digest);
    const signature = fromBase64Url(sig) ?? expect.fail();
    const domain = `anabranch/version/1/${vectors.cluster}`;
    expect(verifySignature(key(vector.publicKey), domain, key(vector.digest), signature)).toBe(true);
    expect(verifyVersion(version, vectors.cluster, key(vector.publicKey))).toBe(true);
  });

  test('holds against its parents, in any order', () => {
    const parents = vector.parents.map((text) => accepted(decodeVersion(text ?? expect.fail())));
    expect(checkAgainstParents(version, parents)).toBeUndefined();
    expect(checkAgainstParents(version, parents.toReversed())).toBeUndefined();
  });

  test('does not verify in another cluster or under another key', () => {
    expect(verifyVersion(version, 'other' as ClusterId, key(vector.publicKey))).toBe(false);
    expect(verifyVersion(version, vectors.cluster, carol.signer.publicKey)).toBe(false);
    expect(verifyVersion(version, vectors.cluster, new Uint8Array(5))).toBe(false);
  });
});

test.each(vectors.refusedAlone)('a record is refused: $why', ({ text, fault }) => {
  expect(refusal(decodeVersion(text)).code).toBe(fault);
  expect(refusal(decodeVersion(Buffer.from(text, 'utf8'))).code).toBe(fault);
});

test.each(vectors.refusedWithParents)('a record is refused beside its parents: $why', ({ text, parents, fault }) => {
  const decoded = parents.map((parent) => accepted(decodeVersion(parent)));
  expect(checkAgainstParents(accepted(decodeVersion(text)), decoded)?.code).toBe(fault);
  expect(fault).toEqual(expect.any(String));
});

test('a version that was checked is recalled from its bytes, and from no others', () => {
  for (const { text } of vectors.records) {
    const version = accepted(decodeVersion(text));
    const bytes = Buffer.from(text, 'utf8');
    expect(recallVersion(version.id, bytes)).toEqual(version);
    for (const at of [0, bytes.length >> 1, bytes.length - 1]) {
      const rotten = Uint8Array.from(bytes);
      rotten[at] = (rotten[at] as number) ^ 1;
      expect(recallVersion(version.id, rotten)).toBeUndefined();
    }
    expect(recallVersion(version.id, bytes.subarray(1))).toBeUndefined();
  }
});

describe('decoding', () => {
  const { text } = write(alice, []);

  test('refuses more than 64 KiB before it reads them', () => {
    expect(refusal(decodeVersion('x'.repeat(65_537))).code).toBe('too_large');
    expect(refusal(decodeVersion(new Uint8Array(65_537))).code).toBe('too_large');
    expect(refusal(decodeVersion('é'.repeat(32_769))).code).toBe('too_large');
    expect(refusal(decodeVersion('['.repeat(65_536))).code).toBe('malformed');
  });

  test('refuses bytes that are not UTF-8, and a byte order mark', () => {
    const bytes = Buffer.from(text, 'utf8');
    for (const bad of [
      Buffer.concat([bytes, Buffer.of(0xff)]),
      Buffer.from(text.replace('hello', '').replace('admin', 'adm\u0001n'), 'latin1'),
      Buffer.concat([Buffer.of(0xef, 0xbb, 0xbf), bytes]),
      // An overlong slash, and a surrogate encoded by itself.
      Buffer.concat([bytes.subarray(0, 11), Buffer.of(0xc0, 0xaf), bytes.subarray(11)]),
      Buffer.concat([bytes.subarray(0, 11), Buffer.of(0xed, 0xa0, 0x80), bytes.subarray(11)]),
    ]) {
      expect(refusal(decodeVersion(bad)).code).toBe('malformed');
    }
  });

  test('keeps no hold on the bytes it was given', () => {
    const bytes = Buffer.from(text, 'utf8');
    const version = accepted(decodeVersion(bytes));
    bytes.fill(0);
    expect(version.text).toBe(text);
  });
});

describe('a draft', () => {
  const root = write(alice, []);
  const left = write(alice, [root]);
  const right = write(bob, [root]);
  const faultOf = (parents: readonly Version[], changes: Partial<VersionFields>) =>
    refusal(draftVersion(parents, fieldsOf(alice, parents, changes))).code;

  test('sorts its parents and computes context and generation from them', () => {
    const { record, context } = accepted(draftVersion([right, left], fieldsOf(alice, [right, left])));
    expect(record.parents).toEqual([left.id, right.id].sort());
    expect(record.generation).toBe(3);
    expect(record.context).toEqual({ [actorOf(alice)]: 2, [actorOf(bob)]: 1 });
    expect(contextEquals(context, accepted(decodeContext(record.context)))).toBe(true);
  });

  test('of a put with two parents is a merge, and of a delete has an empty type', () => {
    expect(accepted(draftVersion([left, right], fieldsOf(alice, [left, right]))).record.kind).toBe('merge');
    const removed = accepted(draftVersion([left, right], fieldsOf(alice, [left, right], { kind: 'delete' })));
    expect(removed.record).toMatchObject({ kind: 'delete', type: '', content: null });
  });

  test('keeps a gap where the actor wrote on another branch', () => {
    const third = write(alice, [root], { dot: { actor: actorOf(alice), counter: 3 } });
    const fourth = write(alice, [third], { dot: { actor: actorOf(alice), counter: 4 } });
    expect(fourth.record.context).toEqual({
      [actorOf(alice)]: [
        [1, 1],
        [3, 3],
      ],
    });
    expect(write(alice, [fourth, left]).record.context).toEqual({ [actorOf(alice)]: 4 });
  });

  test('is refused when its fields or its parents do not allow it', () => {
    expect(faultOf([left], { kind: 'merge' })).toBe('malformed');
    expect(faultOf([], { content: null })).toBe('malformed');
    expect(faultOf([], { kind: 'delete', content: contentOf('x') })).toBe('malformed');
    expect(faultOf([], { meta: { name: 'x'.repeat(9_000) } })).toBe('malformed');
    expect(faultOf([], { key: '../x' })).toBe('malformed');
    expect(faultOf([], { node: bob.nodeId })).toBe('malformed');
    expect(faultOf([left], { key: 'another' })).toBe('foreign_parent');
    expect(faultOf([root, left], {})).toBe('not_an_antichain');
    expect(faultOf([left], { dot: left.record.dot })).toBe('reused_dot');
    expect(faultOf([left], { dot: root.record.dot })).toBe('reused_dot');
  });

  test('takes 256 parents and no more', () => {
    const heads = Array.from({ length: 257 }, (_, at) => write(testNode(`n${at}`), [root]));
    expect(faultOf(heads, {})).toBe('malformed');
    const merge = write(alice, heads.slice(1));
    expect(accepted(decodeVersion(merge.text))).toEqual(merge);
    expect(checkAgainstParents(merge, heads.slice(1))).toBeUndefined();
  });

  test('is refused when its context does not fit into a record', () => {
    // A parent whose ancestors were written by that many nodes, without the work of writing them all.
    const parentOf = (writers: number): Version => ({
      ...root,
      context: accepted(
        decodeContext(Object.fromEntries(Array.from({ length: writers }, (_, at) => [actorOf(testNode(`w${at}`)), 1]))),
      ),
    });
    const fits = write(bob, [parentOf(1_300)]);
    expect(Buffer.byteLength(fits.text)).toBeGreaterThan(55_000);
    expect(accepted(decodeVersion(fits.text)).record.context).toEqual(fits.record.context);
    expect(faultOf([parentOf(1_600)], {})).toBe('context_too_large');
  });
});

describe('a dot that was issued twice', () => {
  const root = write(alice, []);
  const dot: Dot = { actor: actorOf(alice), counter: 2 };
  const one = write(alice, [root], { dot, content: contentOf('one') });
  const double = write(alice, [root], { dot, content: contentOf('double') });
  const child = write(bob, [double]);

  test('can still be merged: the graph, not the dots, says who is whose ancestor', () => {
    const graph = VersionGraph.from([root, one, double, child].map(graphEntry));
    const isAncestor = (elder: VersionId, younger: VersionId): boolean => graph.isAncestor(elder, younger);
    const merge = write(carol, [one, child], {}, isAncestor);
    expect(merge.record.parents).toEqual([one.id, child.id].sort());
    expect(checkAgainstParents(merge, [one, child], isAncestor)).toBeUndefined();
    expect(checkAgainstParents(merge, [one, child])?.code).toBe('not_an_antichain');
  });

  test('can be merged with its double, which costs neither', () => {
    const merge = write(carol, [one, double]);
    expect(merge.record.context).toEqual({ [actorOf(alice)]: 2 });
    expect(checkAgainstParents(merge, [one, double])).toBeUndefined();
    const graph = VersionGraph.from([root, one, double, child, merge].map(graphEntry));
    expect(graph.heads()).toEqual([child.id, merge.id].sort());
  });
});

test('checking against versions that are not the parents is a bug and says so', () => {
  const root = write(alice, []);
  const child = write(bob, [root]);
  expect(() => checkAgainstParents(child, [])).toThrow(/not its parents/);
  expect(() => checkAgainstParents(child, [child])).toThrow(/not its parents/);
  expect(() => checkAgainstParents(root, [child])).toThrow(/not its parents/);
});

describe('a draft takes', () => {
  const drafts = (changes: Readonly<Record<string, unknown>>): boolean => {
    const draft = draftVersion([], fieldsOf(alice, [], changes as Partial<VersionFields>));
    if (!draft.ok) expect(draft.error.code).toBe('malformed');
    return draft.ok;
  };

  test('a type of ASCII without spaces at its ends', () => {
    for (const type of ['text/plain', 'text/plain; charset=utf-8', 'x', 'x'.repeat(255)])
      expect(drafts({ type })).toBe(true);
    for (const type of ['', ' ', ' a', 'a ', 'a\n', 'ä', 'x'.repeat(256), 1, null])
      expect(drafts({ type })).toBe(false);
  });

  test('metadata of lowercase names and text without control characters, up to 8 KiB', () => {
    for (const meta of [{}, { a: '' }, { 'a.b_c-d': 'ünï 𝄞' }, { a: 'x'.repeat(8_191) }])
      expect(drafts({ meta })).toBe(true);
    const refusedOnes = [
      null,
      [],
      { A: '' },
      { '': '' },
      { a: 1 },
      { a: '\u0000' },
      { a: '\ud800' },
      { a: 'x'.repeat(8_192) },
    ];
    const disguised = [JSON.parse('{"__proto__":"x"}'), { ['a'.repeat(65)]: '' }];
    for (const meta of [...refusedOnes, ...disguised]) expect(drafts({ meta })).toBe(false);
  });
});
