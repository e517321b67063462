import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { toBase32 } from '../../../crdt/digest.ts';
import type { BlobHash } from '../../../crdt/ids.ts';
import { CompactHashes } from '../../../src/replication/compact-hashes.ts';
import { idOf } from '../../support/made-ids.ts';

const made = (bytes: Uint8Array): BlobHash => toBase32(bytes) as BlobHash;

describe('a compact set of hashes', () => {
  test('has what was added, and nothing else', () => {
    // Few values a byte, so that hashes share slots, parts and beginnings; none begins with nothing but zeros.
    const bytes = fc.uint8Array({ minLength: 32, maxLength: 32, max: 1 }).map((each) => each.with(0, 1));
    fc.assert(
      fc.property(fc.array(bytes, { maxLength: 200 }), fc.array(bytes), (added, others) => {
        const set = new CompactHashes();
        const kept = new Map(added.map((each) => [`${each.slice(0, 16)} ${each[31]}`, each]));
        for (const each of added) set.add(made(each));
        expect(set.size).toBe(kept.size);
        for (const each of added) expect(set.has(made(each))).toBe(true);
        for (const each of others) expect(set.has(made(each))).toBe(kept.has(`${each.slice(0, 16)} ${each[31]}`));
      }),
    );
  });

  test('takes many, each once', () => {
    const set = new CompactHashes();
    for (let time = 0; time < 2; time += 1)
      for (let name = 0; name < 50_000; name += 1) set.add(idOf<BlobHash>(String(name)));
    expect(set.size).toBe(50_000);
    for (let name = 0; name < 50_000; name += 1) expect(set.has(idOf<BlobHash>(String(name)))).toBe(true);
    for (let name = 50_000; name < 100_000; name += 1) expect(set.has(idOf<BlobHash>(String(name)))).toBe(false);
  });

  test('takes a hash of zeros for one', () => {
    const set = new CompactHashes();
    const zeros = made(new Uint8Array(32));
    expect(set.has(zeros)).toBe(false);
    set.add(zeros);
    expect([set.has(zeros), set.size]).toEqual([true, 1]);
  });
});
