import { publicKeyFromRaw } from '@libp2p/crypto/keys';
import { peerIdFromPublicKey } from '@libp2p/peer-id';
import { describe, expect, test } from 'vitest';
import { blake3 } from '../../../crdt/digest.ts';
import {
  fromBase64Url,
  peerIdOf,
  publicKeyOf,
  signerFromSeed,
  toBase64Url,
  verifySignature,
} from '../../../crdt/signature.ts';
import { readVectors } from '../../support/vectors/index.ts';

const vectors = readVectors('signature');
const hex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'hex'));
const base64Url = (text: string): Uint8Array => fromBase64Url(text) ?? expect.fail(`${text} is not base64url`);

describe.each(vectors.signed)('the key of seed $seed under "$domain"', (vector) => {
  const signer = signerFromSeed(hex(vector.seed));
  const digest = hex(vector.digest);

  test('has the public key and the peer id of the vector', () => {
    expect(signer.publicKey).toEqual(hex(vector.publicKey));
    expect(peerIdOf(signer.publicKey)).toBe(vector.peerId);
    expect(publicKeyOf(vector.peerId)).toEqual(signer.publicKey);
  });

  test('signs to the bytes of the vector, which hold', () => {
    expect(toBase64Url(signer.sign(vector.domain, digest))).toBe(vector.signature);
    expect(verifySignature(hex(vector.publicKey), vector.domain, digest, base64Url(vector.signature))).toBe(true);
  });
});

test.each(vectors.refused)('a signature does not hold for $why', ({ publicKey, domain, digest, signature }) => {
  expect(verifySignature(hex(publicKey), domain, hex(digest), base64Url(signature))).toBe(false);
});

test('a signature still holds after more keys were used than are kept', () => {
  const signer = signerFromSeed(new Uint8Array(32).fill(9));
  const digest = blake3(new Uint8Array());
  const signature = signer.sign('domain', digest);
  expect(verifySignature(signer.publicKey, 'domain', digest, signature)).toBe(true);
  for (let n = 0; n < 1_100; n += 1) {
    const key = new Uint8Array(32);
    new DataView(key.buffer).setUint32(0, n);
    expect(verifySignature(key, 'domain', digest, signature)).toBe(false);
  }
  expect(verifySignature(signer.publicKey, 'domain', digest, signature)).toBe(true);
});

describe('a peer id', () => {
  test('is the one libp2p gives to the key', () => {
    const { publicKey } = signerFromSeed(new Uint8Array(32).fill(3));
    expect(peerIdOf(publicKey)).toBe(peerIdFromPublicKey(publicKeyFromRaw(publicKey)).toString());
  });

  test.each(vectors.peerIdsRefused)('is not %j', (text) => {
    expect(publicKeyOf(text)).toBeUndefined();
  });

  test('is not a text of any length', () => {
    expect(publicKeyOf('1'.repeat(1_000_000))).toBeUndefined();
  });
});

test('keys and seeds of another length are refused', () => {
  for (const length of [0, 31, 33, 64]) {
    expect(() => signerFromSeed(new Uint8Array(length))).toThrow(RangeError);
    expect(() => peerIdOf(new Uint8Array(length))).toThrow(RangeError);
  }
});

describe('base64url', () => {
  test.each(vectors.base64Url)('writes $hex as "$text" and reads it back', (vector) => {
    expect(toBase64Url(hex(vector.hex))).toBe(vector.text);
    expect(fromBase64Url(vector.text)).toEqual(hex(vector.hex));
  });

  test.each(vectors.base64UrlRefused)('does not read %j', (text) => {
    expect(fromBase64Url(text)).toBeUndefined();
  });
});
