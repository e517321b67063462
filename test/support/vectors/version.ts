import { encodeCanonical } from '../../../crdt/canonical-json.ts';
import { blake3, toHex } from '../../../crdt/digest.ts';
import { checkAgainstParents, decodeVersion, type Version } from '../../../crdt/version.ts';
import { accepted, actorOf, contentOf, forge, refusal, testCluster, testNode, write } from '../versions.ts';

const [alice, bob] = [testNode('alice'), testNode('bob')];

/** A short history: two branches, a merge, a write on an old version, a delete. */
export function sampleHistory() {
  const first = write(alice, []);
  const left = write(alice, [first], { content: contentOf('left'), meta: { note: 'Grüße, "quoted" \\ 𝄞', sig: 'no' } });
  const right = write(bob, [first], {
    content: contentOf('right'),
    author: 'ada',
    type: 'text/markdown; charset=utf-8',
  });
  const merge = write(bob, [right, left], { kind: 'merge', content: contentOf('both') });
  const aside = write(alice, [first], { dot: { actor: actorOf(alice), counter: 3 }, content: contentOf('') });
  const late = write(alice, [aside], { dot: { actor: actorOf(alice), counter: 4 } });
  const removed = write(bob, [merge, late], { kind: 'delete' });
  return { first, left, right, merge, aside, late, removed };
}

type Sample = ReturnType<typeof sampleHistory>;

function step1Refusals({ first, left, right, merge, removed }: Sample) {
  const record = { ...left.record };
  const recordWith = (change: object): string => encodeCanonical({ ...record, ...change });
  const resigned = (version: Version, change: Readonly<Record<string, unknown>>): string =>
    forge(alice, version, change);
  const texts: [why: string, text: string][] = [
    ['white space', ` ${left.text}`],
    ['key order', JSON.stringify(left.record)],
    ['cut short', left.text.slice(0, -1)],
    ['unknown version', resigned(left, { v: 2 })],
    ['unknown field', recordWith({ extra: true })],
    [
      'a field is missing',
      encodeCanonical(Object.fromEntries(Object.entries(record).filter(([name]) => name !== 'log'))),
    ],
    ['no signature', encodeCanonical({ ...record, sig: '' })],
    ['signature with padding', recordWith({ sig: `${record.sig}==` })],
    ['namespace', resigned(left, { ns: 'Docs' })],
    ['key with a dot segment', resigned(left, { key: 'a/../b' })],
    ['key with NUL', resigned(left, { key: 'a\u0000b' })],
    ['empty key', resigned(left, { key: '' })],
    ['unknown kind', resigned(left, { kind: 'copy' })],
    ['put with two parents', resigned(merge, { kind: 'put' })],
    ['merge with one parent', resigned(left, { kind: 'merge' })],
    ['parents out of order', resigned(merge, { parents: merge.record.parents.toReversed() })],
    ['the same parent twice', resigned(merge, { parents: [first.id, first.id] })],
    ['parent is no hash', resigned(left, { parents: ['x'] })],
    ['generation 1 with parents', resigned(left, { generation: 1 })],
    ['generation 2 without parents', resigned(first, { generation: 2 })],
    ['generation too great', resigned(left, { generation: 2_147_483_648 })],
    ['generation no integer', resigned(left, { generation: 1.5 })],
    ['counter 0', resigned(left, { dot: { ...record.dot, counter: 0 } })],
    ['dot of another node', resigned(left, { dot: right.record.dot })],
    ['actor without incarnation', resigned(left, { dot: { actor: alice.nodeId, counter: 1 } })],
    ['context not in normal form', resigned(left, { context: { [record.dot.actor]: [[1, 1]] } })],
    ['put without content', resigned(left, { content: null })],
    ['delete with content', resigned(left, { kind: 'delete', type: '' })],
    ['delete with a type', resigned(removed, { type: 'text/plain' })],
    ['put without type', resigned(left, { type: '' })],
    ['type with a line break', resigned(left, { type: 'text/plain\r\nX: y' })],
    ['b3 in uppercase', resigned(left, { content: { ...left.record.content, b3: 'A'.repeat(64) } })],
    ['size negative', resigned(left, { content: { ...left.record.content, size: -1 } })],
    ['size not safe', resigned(left, { content: { ...left.record.content, size: 2 ** 53 } })],
    ['unknown field of content', resigned(left, { content: { ...left.record.content, more: 1 } })],
    ['name in meta', resigned(left, { meta: { Name: 'x' } })],
    ['value in meta', resigned(left, { meta: { name: 1 } })],
    ['control character in meta', resigned(left, { meta: { name: 'a\nb' } })],
    ['meta too long', resigned(left, { meta: { name: 'x'.repeat(8_189) } })],
    ['author empty', resigned(left, { author: '' })],
    ['author too long', resigned(left, { author: 'é'.repeat(129) })],
    ['node id', resigned(left, { node: 'alice' })],
    ['time negative', resigned(left, { time: -1 })],
    ['log hash', resigned(left, { log: { seq: 0, hash: 'x' } })],
    ['log sequence', resigned(left, { log: { seq: -1, hash: testCluster } })],
  ];
  return texts.map(([why, text]) => ({ why, text, fault: refusal(decodeVersion(text)).code }));
}

function step2Refusals({ first, left, right, merge, late }: Sample) {
  const other = write(alice, [], { key: 'another' });
  const cases: [why: string, text: string, parents: readonly Version[]][] = [
    [
      'parent of another object',
      forge(alice, write(alice, [other], { key: 'another' }), { key: first.record.key }),
      [other],
    ],
    ['generation too small', forge(bob, merge, { generation: 2 }), [left, right]],
    ['generation too great', forge(bob, merge, { generation: 9 }), [left, right]],
    ['context lacks a parent', forge(bob, right, { context: {} }), [first]],
    [
      'context has a stranger',
      forge(bob, right, { context: { ...right.record.context, [actorOf(testNode('eve'))]: 1 } }),
      [first],
    ],
    [
      'parent is an ancestor of the other',
      forge(alice, merge, {
        parents: [first.id, left.id].sort(),
        node: alice.nodeId,
        dot: { actor: actorOf(alice), counter: 9 },
      }),
      [first, left],
    ],
    ['dot of an ancestor', forge(alice, left, { dot: first.record.dot }), [first]],
    [
      'counter before the last',
      forge(alice, write(alice, [late]), { dot: { actor: actorOf(alice), counter: 2 } }),
      [late],
    ],
  ];
  return cases.map(([why, text, parents]) => ({
    why,
    text,
    parents: parents.map((parent) => parent.text),
    fault: checkAgainstParents(accepted(decodeVersion(text)), parents)?.code,
  }));
}

export function versionVectors() {
  const sample = sampleHistory();
  const keys = new Map([alice, bob].map(({ nodeId, signer }) => [nodeId, toHex(signer.publicKey)]));
  const byId = new Map(Object.values(sample).map((version) => [version.id, version]));
  return {
    about:
      'A version record is canonical JSON. `digest` is BLAKE3 of `unsigned`, the record without sig; sig is ed25519 by `publicKey` over it under the domain anabranch/version/1/<cluster>; the id is BLAKE3 of `text` in base32. `refusedAlone`: by shape. `refusedWithParents`: the shape and the signature hold, the parents say otherwise.',
    cluster: testCluster,
    records: Object.entries(sample).map(([name, { id, record, text }]) => {
      const { sig: _, ...rest } = record;
      const unsigned = encodeCanonical(rest);
      const digest = toHex(blake3(Buffer.from(unsigned, 'utf8')));
      const parents = record.parents.map((parent) => byId.get(parent)?.text);
      return { name, text, id, publicKey: keys.get(record.node), unsigned, digest, parents };
    }),
    refusedAlone: step1Refusals(sample),
    refusedWithParents: step2Refusals(sample),
  };
}
