import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { ClusterId } from '../../../crdt/ids.ts';
import { documentId } from '../../../crdt/object-document.ts';
import { DocumentIds } from '../../../src/node/document-ids.ts';

const cluster = 'a'.repeat(52) as ClusterId;
const namespaces = ['a', 'b'] as const;

test('the id of a name is the same however many others were asked for in between', () => {
  const ids = new DocumentIds(cluster);
  const asked = fc.record({ ns: fc.constantFrom(...namespaces), key: fc.nat(3_000).map((number) => `key ${number}`) });
  fc.assert(
    fc.property(fc.array(asked, { minLength: 500, maxLength: 1_000, size: 'max' }), (names) => {
      for (const { ns, key } of names) expect(ids.of(ns, key)).toBe(documentId(cluster, ns, key));
    }),
    { numRuns: 5 },
  );
});

test('names that share a place, and differ in the namespace or the beginning of the key alone, have ids of their own', () => {
  const ids = new DocumentIds(cluster);
  const keys = ['', 'x', '1 the same end', '2 the same end', '3 the same end'];
  for (let round = 0; round < 2; round += 1) {
    for (const key of keys) for (const ns of namespaces) expect(ids.of(ns, key)).toBe(documentId(cluster, ns, key));
  }
});
