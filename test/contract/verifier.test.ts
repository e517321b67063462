import { afterAll, describe, expect, it } from 'vitest';
import { type SignedDigest, signerFromSeed } from '../../crdt/signature.ts';
import { InlineVerifier } from '../../src/adapters/memory/verifier.ts';
import { ThreadVerifier } from '../../src/adapters/system/verifier.ts';
import type { Verifier } from '../../src/ports/verifier.ts';

const signer = signerFromSeed(new Uint8Array(32).fill(1));

function signed(index: number): SignedDigest {
  const digest = new Uint8Array(32).fill(index);
  return { publicKey: signer.publicKey, domain: 'test', digest, signature: signer.sign('test', digest) };
}

const sound = (count: number): SignedDigest[] => Array.from({ length: count }, (_, index) => signed(index));
const spoiled: readonly SignedDigest[] = [
  { ...signed(1), domain: 'other' },
  { ...signed(1), digest: new Uint8Array(32).fill(2) },
  { ...signed(1), signature: new Uint8Array(64) },
  { ...signed(1), signature: new Uint8Array(3) },
  { ...signed(1), publicKey: new Uint8Array(31) },
  { ...signed(1), publicKey: new Uint8Array(32).fill(0xff) },
];

const threads = new ThreadVerifier();
const verifiers: readonly [string, Verifier][] = [
  ['on a thread', threads],
  ['inline', new InlineVerifier()],
];
afterAll(() => threads.close());

describe.each(verifiers)('a verifier %s', (_, verifier) => {
  it.each([0, 1, 3, 8, 9, 100])('tells of %i sound signatures that they hold', async (count) => {
    expect(await verifier.verify(sound(count))).toEqual(new Array(count).fill(true));
  });

  it('tells which of many do not hold, whatever is wrong with them', async () => {
    const mixed = [...sound(3), ...spoiled, ...sound(2)];
    expect(await verifier.verify(mixed)).toEqual([
      ...new Array(3).fill(true),
      ...spoiled.map(() => false),
      ...new Array(2).fill(true),
    ]);
  });

  it('answers each caller for what it asked', async () => {
    const asked = Array.from({ length: 20 }, (_, index) => verifier.verify(index % 2 === 0 ? sound(5) : spoiled));
    for (const [index, answer] of (await Promise.all(asked)).entries()) {
      expect(answer.every((holds) => holds === (index % 2 === 0))).toBe(true);
    }
  });
});

describe('a verifier with a thread', () => {
  it('answers what was asked before it was closed, and goes on without the thread', async () => {
    const verifier = new ThreadVerifier();
    const asked = verifier.verify(sound(200));
    await verifier.close();
    expect(await asked).toEqual(new Array(200).fill(true));
    expect(await verifier.verify([...sound(10), ...spoiled])).toContain(false);
  });

  it('answers what was asked one by one in one turn, in the order it was asked', async () => {
    const verifier = new ThreadVerifier();
    const each = [...sound(6), ...spoiled];
    const answered: number[] = [];
    const asked = each.map(async (one, index) => {
      const [holds] = await verifier.verify([one]);
      answered.push(index);
      return holds;
    });
    expect(await Promise.all(asked)).toEqual([...new Array(6).fill(true), ...spoiled.map(() => false)]);
    expect(answered).toEqual(each.map((_, index) => index));
    await verifier.close();
  });

  it('lets others run while it verifies more than the thread is given at once', async () => {
    const verifier = new ThreadVerifier();
    let turns = 0;
    let timer = setImmediate(function count() {
      turns += 1;
      timer = setImmediate(count);
    });
    const holds = await verifier.verify(new Array(5_000).fill(signed(1)));
    clearImmediate(timer);
    expect([holds.length, holds.every((each) => each)]).toEqual([5_000, true]);
    expect(turns).toBeGreaterThan(100);
    await verifier.close();
  });

  it('verifies here what is more than the thread is given at once', async () => {
    const verifier = new ThreadVerifier();
    const asked = Array.from({ length: 60 }, () => verifier.verify(sound(100)));
    expect((await Promise.all(asked)).flat().every((holds) => holds)).toBe(true);
    await verifier.close();
  });
});
