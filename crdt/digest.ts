import assert from 'node:assert/strict';
import { hash as nodeHash } from 'node:crypto';
import { createRequire } from 'node:module';
import { decodeBase32, encodeBase32 } from './base32.ts';
import { textOfBytes } from './byte-text.ts';
import type { BlobHash } from './ids.ts';

/** Bytes of every hash in the mesh. */
export const hashBytes = 32;
/** Characters of a hash as lowercase base32 without padding. */
export const hashTextLength = 52;
/** Bytes of a key of the keyed hash. */
const keyBytes = 32;

/** A BLAKE3 in progress. `digest` ends it: neither call may follow. */
export interface Blake3 {
  update(bytes: Uint8Array): void;
  digest(): Uint8Array;
}

/** One implementation of BLAKE3; two exist, and they agree on every byte. */
export interface Blake3Implementation {
  readonly name: 'native' | 'portable';
  hash(bytes: Uint8Array): Uint8Array;
  keyedHash(key: Uint8Array, bytes: Uint8Array): Uint8Array;
  create(): Blake3;
}

const require = createRequire(import.meta.url);

/**
 * The libraries answer with Buffers; a plain array keeps equality and serialisation free of surprises. A copy of 32 bytes
 * costs half as much as a view of them, for which their memory has to be moved out of the heap first.
 */
const plain = (bytes: Uint8Array): Uint8Array => new Uint8Array(bytes);

const endedError = 'this hash has been taken already';

/**
 * The native binding (about 6 GB/s on large input), or undefined where its binary does not load.
 * Its keyed hash aborts the whole process on a key of the wrong length, so `keyedBlake3` checks first.
 */
export function loadNativeBlake3(): Blake3Implementation | undefined {
  try {
    const binding = require('@napi-rs/blake-hash') as typeof import('@napi-rs/blake-hash');
    return {
      name: 'native',
      hash: (bytes) => plain(binding.blake3(bytes)),
      keyedHash: (key, bytes) => plain(binding.Blake3Hasher.newKeyed(Buffer.from(key)).update(bytes).digestBuffer()),
      create: () => createNativeHasher(new binding.Blake3Hasher()),
    };
  } catch {
    return undefined;
  }
}

function createNativeHasher(hasher: import('@napi-rs/blake-hash').Blake3Hasher): Blake3 {
  let ended = false;
  return {
    update(bytes) {
      if (ended) throw new Error(endedError);
      hasher.update(bytes);
    },
    digest() {
      if (ended) throw new Error(endedError);
      ended = true;
      return plain(hasher.digestBuffer());
    },
  };
}

/** The portable implementation (WebAssembly, about 0.7 GB/s). Throws only when the package is not installed. */
export function loadPortableBlake3(): Blake3Implementation {
  const library = require('blake3-wasm') as typeof import('blake3-wasm');
  return {
    name: 'portable',
    hash: (bytes) => plain(library.hash(bytes) as Uint8Array),
    // The library's own `keyedHash` never frees its WebAssembly memory; an instance does at `digest`.
    keyedHash: (key, bytes) => plain(library.createKeyed(Buffer.from(key)).update(bytes).digest() as Uint8Array),
    create() {
      const hasher = library.createHash();
      return {
        update(bytes) {
          hasher.update(bytes);
        },
        digest: () => plain(hasher.digest() as Uint8Array),
      };
    },
  };
}

/**
 * Calling the addon costs more than a small hash (2 µs, and 10 µs more for one with a key or in pieces), so WebAssembly
 * takes what is no longer than these bytes. Most of what the mesh hashes is: names, rows, records.
 */
const plainSmallMax = 1_536;
const keyedSmallMax = 6_144;

const portable = loadPortableBlake3();
const large = loadNativeBlake3() ?? portable;

/** BLAKE3 of `bytes`: 32 bytes. Never throws. */
export function blake3(bytes: Uint8Array): Uint8Array {
  return (bytes.length <= plainSmallMax ? portable : large).hash(bytes);
}

/** A BLAKE3 fed piece by piece; how the input is split does not change the result. Throws when used after `digest`. */
export function createBlake3(): Blake3 {
  return new PiecewiseBlake3();
}

/** Gathers the first pieces, so that what turns out small is hashed as one. */
class PiecewiseBlake3 implements Blake3 {
  readonly #gathered = Buffer.allocUnsafe(plainSmallMax);
  #length = 0;
  #hasher: Blake3 | undefined;
  #ended = false;

  update(bytes: Uint8Array): void {
    if (this.#ended) throw new Error(endedError);
    if (this.#hasher === undefined && this.#length + bytes.length <= plainSmallMax) {
      this.#gathered.set(bytes, this.#length);
      this.#length += bytes.length;
      return;
    }
    if (this.#hasher === undefined) {
      this.#hasher = large.create();
      this.#hasher.update(this.#gathered.subarray(0, this.#length));
    }
    this.#hasher.update(bytes);
  }

  digest(): Uint8Array {
    if (this.#ended) throw new Error(endedError);
    this.#ended = true;
    return this.#hasher?.digest() ?? blake3(this.#gathered.subarray(0, this.#length));
  }
}

/** BLAKE3 in keyed mode: 32 bytes. Throws a RangeError unless the key has 32 bytes. */
export function keyedBlake3(key: Uint8Array, bytes: Uint8Array): Uint8Array {
  if (key.length !== keyBytes) throw new RangeError(`a BLAKE3 key has ${keyBytes} bytes, not ${key.length}`);
  return (bytes.length <= keyedSmallMax ? portable : large).keyedHash(key, bytes);
}

/** SHA-256 of `bytes`: 32 bytes. Only formats of others ask for it: Automerge's changes and RFC 6962's Merkle tree. */
export function sha256(bytes: Uint8Array): Uint8Array {
  return plain(nodeHash('sha256', bytes, 'buffer'));
}

/** Lowercase base32 (RFC 4648) without padding. */
export function toBase32(bytes: Uint8Array): string {
  return encodeBase32(bytes);
}

/** The bytes of canonical lowercase base32 without padding, or undefined for any other text. */
export function fromBase32(text: string): Uint8Array | undefined {
  return decodeBase32(text);
}

/** Lowercase hexadecimal. */
export function toHex(bytes: Uint8Array): string {
  return textOfBytes(bytes, 'hex');
}

/** The bytes of lowercase hexadecimal, or undefined for any other text. */
export function fromHex(text: string): Uint8Array | undefined {
  if (text.length % 2 !== 0 || !/^[0-9a-f]*$/.test(text)) return undefined;
  return new Uint8Array(Buffer.from(text, 'hex'));
}

/** The name of a chunk or a manifest: BLAKE3 of its bytes in base32. */
export function blobHashOf(bytes: Uint8Array): BlobHash {
  return toBase32(blake3(bytes)) as BlobHash;
}

// 52 characters carry 260 bits: the last one holds a single bit of the hash and four zeros, so it is `a` or `q`.
const hashPattern = /^[a-z2-7]{51}[aq]$/;

/** True for exactly the texts that name a 32-byte hash: 52 characters of canonical lowercase base32. */
export function isHash(text: string): boolean {
  return text.length === hashTextLength && hashPattern.test(text);
}

/** Hashes whose bytes are kept: a power of two. A write names some eight, each of them several times. */
const rawKept = 256;
const keptTexts: string[] = new Array(rawKept).fill('');
const keptBytes: Uint8Array[] = new Array(rawKept).fill(new Uint8Array(0));

/**
 * The 32 bytes an id or hash stands for, which the caller must not change: who asks next may be given the same. The text must
 * be one that was checked: anything else is a bug.
 */
export function rawHash(id: string): Uint8Array {
  // A hash is as good as random, so its first two characters are its place; the last one that had it is kept there.
  const place = ((id.charCodeAt(0) << 5) ^ id.charCodeAt(1)) & (rawKept - 1);
  if (keptTexts[place] === id && id !== '') return keptBytes[place] as Uint8Array;
  const bytes = fromBase32(id);
  assert(bytes !== undefined && bytes.length === hashBytes, `not a hash: ${id}`);
  keptTexts[place] = id;
  keptBytes[place] = bytes;
  return bytes;
}
