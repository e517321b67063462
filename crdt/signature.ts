import { createPrivateKey, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import { base58btc } from 'multiformats/bases/base58';
import { textOfBytes } from './byte-text.ts';
import { toHex } from './digest.ts';
import type { PeerId } from './ids.ts';

/** Bytes of an ed25519 seed, and of a public key. */
const keyBytes = 32;
/** Bytes of an ed25519 signature. */
export const signatureBytes = 64;

/** PKCS #8 and SubjectPublicKeyInfo wrappings of raw ed25519 keys (RFC 8410, sections 4 and 7). */
const pkcs8Prefix = Buffer.from('302e020100300506032b657004220420', 'hex');
const spkiPrefix = Buffer.from('302a300506032b6570032100', 'hex');

/**
 * What precedes an ed25519 public key in a libp2p peer id: identity multihash, 36 bytes, of the protobuf
 * `PublicKey { Type: Ed25519, Data: 32 bytes }` (libp2p specs, peer-ids/peer-ids.md).
 */
const peerIdPrefix = Buffer.from('002408011220', 'hex');

/** A peer id is 52 characters; a longer text is refused before base58, whose decoding is quadratic. */
const peerIdTextLengthMax = 64;

/** Parsing a key costs about as much as half a verification, and a mesh has few keys. */
const cachedKeysMax = 1_024;
const cachedKeys = new Map<string, KeyObject>();

/** Signs digests with one ed25519 key. */
export interface Signer {
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  /** 64 bytes over `signedBytes(domain, digest)`; ed25519 is deterministic, so the same input gives the same signature. */
  sign(domain: string, digest: Uint8Array): Uint8Array;
}

/** The signer of a 32-byte ed25519 seed (RFC 8032). Throws a RangeError for a seed of another length. */
export function signerFromSeed(seed: Uint8Array): Signer {
  if (seed.length !== keyBytes) throw new RangeError(`an ed25519 seed has ${keyBytes} bytes, not ${seed.length}`);
  const key = createPrivateKey({ key: Buffer.concat([pkcs8Prefix, seed]), format: 'der', type: 'pkcs8' });
  const spki = createPublicKey(key).export({ format: 'der', type: 'spki' });
  return {
    publicKey: new Uint8Array(spki.subarray(spkiPrefix.length)),
    sign: (domain, digest) => new Uint8Array(sign(null, signedBytes(domain, digest), key)),
  };
}

/** A signature and what it is said to be over: 32 bytes of key, the domain tag, the digest, 64 bytes of signature. */
export interface SignedDigest {
  readonly publicKey: Uint8Array;
  readonly domain: string;
  readonly digest: Uint8Array;
  readonly signature: Uint8Array;
}

/**
 * True when `signature` is the key's over `signedBytes(domain, digest)`.
 * False for anything else, a key or a signature of the wrong length included; never throws.
 */
export function verifySignature(
  publicKey: Uint8Array,
  domain: string,
  digest: Uint8Array,
  signature: Uint8Array,
): boolean {
  if (publicKey.length !== keyBytes || signature.length !== signatureBytes) return false;
  try {
    return verify(null, signedBytes(domain, digest), keyObjectOf(publicKey), signature);
  } catch {
    // OpenSSL may refuse 32 bytes that are no point of the curve when it first uses them.
    return false;
  }
}

/** What is signed: the domain tag in UTF-8, a zero byte, the digest. A tag never contains a zero byte. */
function signedBytes(domain: string, digest: Uint8Array): Uint8Array {
  const tag = Buffer.from(domain, 'utf8');
  const bytes = new Uint8Array(tag.length + 1 + digest.length);
  bytes.set(tag);
  bytes.set(digest, tag.length + 1);
  return bytes;
}

function keyObjectOf(publicKey: Uint8Array): KeyObject {
  const name = toHex(publicKey);
  const cached = cachedKeys.get(name);
  if (cached !== undefined) return cached;
  const key = createPublicKey({ key: Buffer.concat([spkiPrefix, publicKey]), format: 'der', type: 'spki' });
  if (cachedKeys.size >= cachedKeysMax) {
    const oldest = cachedKeys.keys().next();
    if (!oldest.done) cachedKeys.delete(oldest.value);
  }
  cachedKeys.set(name, key);
  return key;
}

/** The libp2p peer id of an ed25519 public key, in base58btc (`12D3KooW…`). Throws a RangeError for a key of another length. */
export function peerIdOf(publicKey: Uint8Array): PeerId {
  if (publicKey.length !== keyBytes) {
    throw new RangeError(`an ed25519 public key has ${keyBytes} bytes, not ${publicKey.length}`);
  }
  return base58btc.baseEncode(Buffer.concat([peerIdPrefix, publicKey])) as PeerId;
}

/** The 32-byte ed25519 key inside a peer id, or undefined when the text is not such a peer id in base58btc. */
export function publicKeyOf(peerId: string): Uint8Array | undefined {
  if (peerId.length > peerIdTextLengthMax) return undefined;
  try {
    const bytes = base58btc.baseDecode(peerId);
    if (bytes.length !== peerIdPrefix.length + keyBytes) return undefined;
    if (!peerIdPrefix.equals(bytes.subarray(0, peerIdPrefix.length))) return undefined;
    if (base58btc.baseEncode(bytes) !== peerId) return undefined;
    return bytes.slice(peerIdPrefix.length);
  } catch {
    return undefined;
  }
}

/** Base64url (RFC 4648, section 5) without padding. */
export function toBase64Url(bytes: Uint8Array): string {
  return textOfBytes(bytes, 'base64url');
}

/** The bytes of canonical base64url without padding, or undefined for any other text. */
export function fromBase64Url(text: string): Uint8Array | undefined {
  const bytes = Buffer.from(text, 'base64url');
  return bytes.toString('base64url') === text ? new Uint8Array(bytes) : undefined;
}
