import { type SignedDigest, signatureBytes, verifySignature } from '../../../crdt/signature.ts';

/** Bytes of an ed25519 public key, and of a digest that is signed. */
const keyBytes = 32;
const digestBytes = 32;
const packedBytes = keyBytes + digestBytes + signatureBytes;

/** Signatures as they are handed to another thread: what is cloned there piece by piece costs as much as it is worth. */
export interface PackedSignatures {
  /** 128 bytes each: key, digest, signature. Transferred, not copied. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** The domain tags, each once, and which of them each signature has: `noDomain` for one that cannot hold. */
  readonly domains: readonly string[];
  readonly domainOf: Uint16Array<ArrayBuffer>;
}

/** Of a signature that is not packed, since its lengths say that it does not hold. */
const noDomain = 0xffff;

function isPackable({ publicKey, digest, signature }: SignedDigest): boolean {
  return publicKey.length === keyBytes && digest.length === digestBytes && signature.length === signatureBytes;
}

/** Packs signatures for one thread: they have fewer than 65,535 domains, which this program's own are by far. */
export function packSignatures(signed: readonly SignedDigest[]): PackedSignatures {
  const bytes = new Uint8Array(signed.length * packedBytes);
  const domains: string[] = [];
  const domainOf = new Uint16Array(signed.length);
  for (const [index, each] of signed.entries()) {
    if (!isPackable(each)) {
      domainOf[index] = noDomain;
      continue;
    }
    const { publicKey, domain, digest, signature } = each;
    const at = index * packedBytes;
    bytes.set(publicKey, at);
    bytes.set(digest, at + keyBytes);
    bytes.set(signature, at + keyBytes + digestBytes);
    let place = domains.indexOf(domain);
    if (place < 0) place = domains.push(domain) - 1;
    domainOf[index] = place;
  }
  return { bytes, domains, domainOf };
}

/** For each signature 1 when it holds, else 0. */
export function verifyPacked({ bytes, domains, domainOf }: PackedSignatures): Uint8Array<ArrayBuffer> {
  const holds = new Uint8Array(domainOf.length);
  for (const [index, place] of domainOf.entries()) {
    if (place === noDomain) continue;
    const at = index * packedBytes;
    const digestAt = at + keyBytes;
    const signatureAt = digestAt + digestBytes;
    const publicKey = bytes.subarray(at, digestAt);
    const digest = bytes.subarray(digestAt, signatureAt);
    const signature = bytes.subarray(signatureAt, at + packedBytes);
    if (verifySignature(publicKey, domains[place] as string, digest, signature)) holds[index] = 1;
  }
  return holds;
}
