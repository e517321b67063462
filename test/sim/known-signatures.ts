import crypto, { createPublicKey, type KeyObject } from 'node:crypto';
import { syncBuiltinESMExports } from 'node:module';

/** Signatures remembered at once. */
const knownMax = 65_536;

/**
 * What keys of this process have signed, to the last byte, and what was found to hold: every node of a run is sent the same
 * signatures, and each verifies them for itself. Whatever is not known is verified; what does not hold never is known.
 */
const known = new Set<string>();
const names = new WeakMap<KeyObject, string>();
const { sign, verify } = crypto;
let runs = 0;

/** From here on until `forgetSignatures`, verifying what is known to hold costs nothing. Each call needs one of that. */
export function rememberSignatures(): void {
  runs += 1;
  if (runs > 1) return;
  crypto.sign = rememberingSign as typeof sign;
  crypto.verify = rememberingVerify as typeof verify;
  // Modules that import these two by name see them as well.
  syncBuiltinESMExports();
}

export function forgetSignatures(): void {
  runs -= 1;
  if (runs > 0) return;
  known.clear();
  Object.assign(crypto, { sign, verify });
  syncBuiltinESMExports();
}

/** As the mesh calls it: with a key object, and at once. */
function rememberingSign(algorithm: null, data: Uint8Array, key: KeyObject): Buffer {
  const signature = sign(algorithm, data, key);
  // What a key has signed holds under it.
  remember(nameOf(key, data, signature));
  return signature;
}

function rememberingVerify(algorithm: null, data: Uint8Array, key: KeyObject, signature: Uint8Array): boolean {
  const name = nameOf(key, data, signature);
  if (known.has(name)) return true;
  const holds = verify(algorithm, data, key, signature);
  if (holds) remember(name);
  return holds;
}

function remember(name: string): void {
  if (known.size >= knownMax) for (const oldest of known) if (known.delete(oldest)) break;
  known.add(name);
}

/** A signature is of 64 bytes, or it holds nowhere: so the parts are told apart. */
function nameOf(key: KeyObject, data: Uint8Array, signature: Uint8Array): string {
  return `${keyName(key)} ${textOf(signature)} ${textOf(data)}`;
}

function textOf({ buffer, byteOffset, byteLength }: Uint8Array): string {
  return Buffer.from(buffer, byteOffset, byteLength).toString('latin1');
}

/** The public key's text, of both halves of a pair. */
function keyName(key: KeyObject): string {
  let name = names.get(key);
  if (name === undefined) {
    const half = key.type === 'public' ? key : createPublicKey(key);
    name = half.export({ format: 'der', type: 'spki' }).toString('base64');
    names.set(key, name);
  }
  return name;
}
