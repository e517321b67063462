/**
 * The branded identifiers of the mesh, so that one kind of name cannot be passed for another.
 * A brand exists for the type checker only: at run time each is the plain string described here.
 */
declare const brand: unique symbol;
type Brand<T, Name extends string> = T & { readonly [brand]: Name };

/** 32 bytes of BLAKE3 over a version record's whole text, as 52 characters of lowercase base32 without padding. */
export type VersionId = Brand<string, 'VersionId'>;
/** BLAKE3 of a chunk or a manifest's bytes, as 52 characters of lowercase base32. */
export type BlobHash = Brand<string, 'BlobHash'>;
/** Id of an object's document: BLAKE3(cluster, ns, key), as 52 characters of lowercase base32. */
export type DocId = Brand<string, 'DocId'>;
/** Hash of the genesis entry, as 52 characters of lowercase base32. */
export type ClusterId = Brand<string, 'ClusterId'>;
/** A node's name for life: 128 random bits as 26 characters of lowercase base32. */
export type NodeId = Brand<string, 'NodeId'>;
/** A node's current ed25519 key as a libp2p peer id in base58btc (`12D3KooW…`). */
export type PeerId = Brand<string, 'PeerId'>;
/** `<nodeId>.<incarnation>`: one life of a node; the incarnation is 64 random bits, 13 characters of base32. */
export type Actor = Brand<string, 'Actor'>;

/** One write by one actor on one object; `counter` starts at 1 and is counted per object. */
export interface Dot {
  readonly actor: Actor;
  readonly counter: number;
}

/** A value, or the reason there is none. What a caller must expect is returned, not thrown. */
export type Result<T, E> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: E };

/** Wraps a value as a successful `Result`. */
export const ok = <T>(value: T): { readonly ok: true; readonly value: T } => ({ ok: true, value });
/** Wraps a reason as a failed `Result`. */
export const err = <E>(error: E): { readonly ok: false; readonly error: E } => ({ ok: false, error });
