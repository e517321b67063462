import { expect, test } from 'vitest';
import { blake3 } from '../../../../crdt/digest.ts';
import type { SignedDigest } from '../../../../crdt/signature.ts';
import { SeededRandom } from '../../../../src/adapters/memory/random.ts';
import { InlineVerifier } from '../../../../src/adapters/memory/verifier.ts';
import { VerifiedSignatures } from '../../../../src/node/confirmation/verified-signatures.ts';
import type { Verifier } from '../../../../src/ports/verifier.ts';
import { testNode } from '../../../support/versions.ts';

const keptMax = 4_096;
const { signer } = testNode('north');
const domain = 'anabranch/confirmation-batch/1/test';

function signed(text: string): SignedDigest {
  const digest = blake3(Buffer.from(text));
  return { publicKey: signer.publicKey, domain, digest, signature: signer.sign(domain, digest) };
}

const spoiled = (each: SignedDigest): SignedDigest => ({ ...each, digest: blake3(each.digest) });

/** Says what is called good without the cost of ed25519, and counts what it is asked. */
class CountingVerifier implements Verifier {
  asked = 0;
  readonly #holds: (each: SignedDigest) => boolean;

  constructor(holds: (each: SignedDigest) => boolean) {
    this.#holds = holds;
  }

  async verify(each: readonly SignedDigest[]): Promise<boolean[]> {
    this.asked += each.length;
    return each.map(this.#holds);
  }
}

/** A made-up signature, good when its last byte is even. */
function madeUp(number: number, good = true): SignedDigest {
  const signature = new Uint8Array(64);
  new DataView(signature.buffer).setUint32(0, number);
  signature[63] = good ? 0 : 1;
  return { publicKey: new Uint8Array(32), domain, digest: new Uint8Array(32), signature };
}

const isGood = ({ signature }: SignedDigest): boolean => signature[63] === 0;

test('verifies a signature once for however many groups it comes with', async () => {
  const verifier = new CountingVerifier(isGood);
  const signatures = new VerifiedSignatures(verifier);
  const groups = Array.from({ length: 128 }, () => [madeUp(1), madeUp(2)]);
  expect(await signatures.eachHold(groups)).toEqual(groups.map(() => true));
  expect(verifier.asked).toBe(2);
  expect(await signatures.eachHold(groups)).toEqual(groups.map(() => true));
  expect(verifier.asked).toBe(2);
});

test('verifies a signature once for calls that overlap, and a bad one fails each of them', async () => {
  const verifier = new CountingVerifier(isGood);
  const signatures = new VerifiedSignatures(verifier);
  const groups = [[madeUp(1), madeUp(2)], [madeUp(3, false)]];
  const overlapping = await Promise.all([signatures.eachHold(groups), signatures.eachHold(groups.toReversed())]);
  expect(overlapping).toEqual([
    [true, false],
    [false, true],
  ]);
  expect(verifier.asked).toBe(3);
  await signatures.eachHold(groups);
  expect(verifier.asked).toBe(4);
});

test('tells good groups from those with a signature that does not hold, also where they share one', async () => {
  const signatures = new VerifiedSignatures(new InlineVerifier());
  const [one, two] = [signed('one'), signed('two')];
  expect(await signatures.eachHold([[one, two], [one, spoiled(two)], [two], [spoiled(one)], []])).toEqual([
    true,
    false,
    true,
    false,
    true,
  ]);
  expect(signatures.allHold([one, two])).toBe(true);
  expect(signatures.allHold([one, spoiled(two)])).toBe(false);
  expect(signatures.allHold([spoiled(one)])).toBe(false);
});

test('knows a signature by its key, domain, digest and every byte, not by the signature alone', async () => {
  const signatures = new VerifiedSignatures(new InlineVerifier());
  const one = signed('one');
  expect(await signatures.eachHold([[one]])).toEqual([true]);
  const others: SignedDigest[] = [
    spoiled(one),
    { ...one, domain: 'anabranch/confirmation/1/test' },
    { ...one, publicKey: testNode('east').signer.publicKey },
    { ...one, signature: one.signature.map((byte, at) => (at === 63 ? byte ^ 1 : byte)) },
  ];
  for (const other of others) {
    expect(signatures.allHold([other])).toBe(false);
    expect(await signatures.eachHold([[other]])).toEqual([false]);
  }
});

test('one that does not hold is not remembered, and is looked at again', async () => {
  const verifier = new CountingVerifier(isGood);
  const signatures = new VerifiedSignatures(verifier);
  expect(await signatures.eachHold([[madeUp(1, false)]])).toEqual([false]);
  expect(await signatures.eachHold([[madeUp(1, false)]])).toEqual([false]);
  expect(verifier.asked).toBe(2);
});

test('a verifier that answers too little proves nothing', async () => {
  const signatures = new VerifiedSignatures({ verify: async () => [] });
  expect(await signatures.eachHold([[madeUp(1)], []])).toEqual([false, true]);
});

test('remembers 4,096, and the oldest gives way', async () => {
  const verifier = new CountingVerifier(isGood);
  const signatures = new VerifiedSignatures(verifier);
  const all = Array.from({ length: keptMax + 1 }, (_, at) => [madeUp(at)]);
  await signatures.eachHold(all.slice(0, keptMax));
  await signatures.eachHold(all.slice(0, keptMax));
  expect(verifier.asked).toBe(keptMax);
  // One more, and the first is not known any more; all the others are.
  await signatures.eachHold(all.slice(keptMax));
  expect(verifier.asked).toBe(keptMax + 1);
  await signatures.eachHold(all.slice(1));
  expect(verifier.asked).toBe(keptMax + 1);
  expect(await signatures.eachHold(all.slice(0, 1))).toEqual([true]);
  expect(verifier.asked).toBe(keptMax + 2);
});

test('what gives way makes no good group look bad, within one call and between calls that overlap', async () => {
  const signatures = new VerifiedSignatures(new CountingVerifier(isGood));
  const random = new SeededRandom('eviction');
  const draw = (): SignedDigest => madeUp(Math.floor(random.fraction() * 3 * keptMax), random.fraction() < 0.999);
  for (let call = 0; call < 6; call += 1) {
    const groups = Array.from({ length: 2_500 }, () => [draw(), draw(), draw()]);
    const [some, more] = [groups.slice(0, 1_500), groups.slice(1_000)];
    const answers = await Promise.all([signatures.eachHold(some), signatures.eachHold(more)]);
    expect(answers).toEqual([some, more].map((each) => each.map((group) => group.every(isGood))));
  }
});
