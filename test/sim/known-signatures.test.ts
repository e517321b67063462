import { expect, test } from 'vitest';
import { signerFromSeed, verifySignature } from '../../crdt/signature.ts';
import { forgetSignatures, rememberSignatures } from './known-signatures.ts';

const domain = 'anabranch/test/1';
const signer = signerFromSeed(new Uint8Array(32).fill(1));
const other = signerFromSeed(new Uint8Array(32).fill(2));
const digest = new Uint8Array(32).fill(3);
const changed = (bytes: Uint8Array): Uint8Array =>
  Uint8Array.from(bytes, (byte, index) => (index === 5 ? byte ^ 1 : byte));

test('a signature that is known holds for its key, its domain, its digest and its bytes, and for nothing else', () => {
  rememberSignatures();
  try {
    const signature = signer.sign(domain, digest);
    for (let time = 0; time < 2; time += 1) {
      expect(verifySignature(signer.publicKey, domain, digest, signature)).toBe(true);
      expect(verifySignature(other.publicKey, domain, digest, signature)).toBe(false);
      expect(verifySignature(signer.publicKey, `${domain}0`, digest, signature)).toBe(false);
      expect(verifySignature(signer.publicKey, domain, changed(digest), signature)).toBe(false);
      expect(verifySignature(signer.publicKey, domain, digest, changed(signature))).toBe(false);
    }
  } finally {
    forgetSignatures();
  }
});

test('what was signed before is verified, and the real functions are back when nobody remembers any more', () => {
  const signature = signer.sign(domain, digest);
  rememberSignatures();
  rememberSignatures();
  expect(verifySignature(signer.publicKey, domain, digest, signature)).toBe(true);
  forgetSignatures();
  expect(verifySignature(signer.publicKey, domain, digest, signature)).toBe(true);
  forgetSignatures();
  expect(verifySignature(signer.publicKey, domain, digest, signature)).toBe(true);
  expect(verifySignature(other.publicKey, domain, digest, signature)).toBe(false);
});
