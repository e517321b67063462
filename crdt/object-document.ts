import * as Automerge from '@automerge/automerge';
import { blake3, fromHex, rawHash, sha256, toBase32, toHex } from './digest.ts';
import type { ClusterId, DocId, VersionId } from './ids.ts';
import { isSlotCount, slotsMax } from './slot-set.ts';
import type { Version } from './version.ts';

const documentDomain = 'anabranch/document/1';

/** What precedes the version id in the root's keys. */
const recordPrefix = 'v/';
/** An Automerge chunk starts with 4 magic bytes and 4 of its checksum. */
const chunkPrefixBytes = 8;

/** The id of an object's document: BLAKE3 of the domain tag, cluster, namespace and key with zero bytes between them. */
export function documentId(cluster: ClusterId, ns: string, key: string): DocId {
  // None of the parts contains a zero byte, so different objects never give the same bytes.
  return toBase32(blake3(Buffer.from(`${documentDomain}\0${cluster}\0${ns}\0${key}`, 'utf8'))) as DocId;
}

/** The slot of a document, 0 to `slots` - 1: the last bits of its id. Throws a RangeError unless `slots` is a power of two up to `slotsMax`. */
export function slotOf(docId: DocId, slots: number): number {
  if (!isSlotCount(slots)) {
    throw new RangeError(`slots are a power of two up to ${slotsMax}, not ${slots}`);
  }
  const bytes = rawHash(docId);
  return (((bytes[30] as number) << 8) | (bytes[31] as number)) % slots;
}

/** One encoded Automerge change and its hash in lowercase hex, by which later changes name it. */
export interface BuiltChange {
  readonly bytes: Uint8Array;
  readonly hash: string;
}

/**
 * The one Automerge change of a version. It is a function of the record and its parents' changes alone, so every
 * node builds the same bytes: actor = the version's id, one op that sets `v/<version id>` to the record's text.
 *
 * @param parentChangeHashes lowercase hex, one for each parent, in any order
 */
export function buildChange(version: Version, parentChangeHashes: readonly string[]): BuiltChange {
  const bytes = Automerge.encodeChange({
    actor: toHex(rawHash(version.id)),
    author: null,
    seq: 1,
    startOp: version.record.generation,
    time: 0,
    message: null,
    deps: [...parentChangeHashes].sort(),
    ops: [{ action: 'set', obj: '_root', key: recordPrefix + version.id, value: version.text, pred: [] }],
  });
  return { bytes, hash: changeHashOf(bytes) };
}

/**
 * A change's hash is the SHA-256 of its chunk after the magic bytes and the checksum (Automerge binary format,
 * "chunks"; `encodeChange` never compresses). This is eight times cheaper than `decodeChange`.
 */
function changeHashOf(change: Uint8Array): string {
  return toHex(sha256(change.subarray(chunkPrefixBytes)));
}

/** The Automerge document of one object, held in WebAssembly memory until `free`. */
export interface ObjectDocument {
  /** The versions of Automerge's heads, sorted as text. */
  heads(): VersionId[];
  /** Every version in the document, sorted as text. */
  versions(): VersionId[];
  /** The record a version was built from, or undefined when the document does not have it. */
  recordText(id: VersionId): string | undefined;
  /** The document as one file that any Automerge tool opens. Its bytes may differ between nodes: never hash them. */
  save(): Uint8Array;
  /** Gives the memory back. Nothing may be called afterwards. */
  free(): void;
}

/**
 * Loads an object's document from changes, in any order, or from what `save` gave. All of them must have been built
 * on this node by `buildChange`, with every parent's: bytes from elsewhere can make a document that never opens
 * again. Throws when Automerge cannot load them, which is rot.
 */
export function openDocument(changes: readonly Uint8Array[]): ObjectDocument {
  const document = Automerge.load<Record<string, unknown>>(Buffer.concat(changes));
  return {
    heads: () =>
      Automerge.getHeads(document)
        .map((hash) => versionOfChange(document, hash))
        .sort(),
    versions: () =>
      Object.keys(document)
        .map((name) => name.slice(recordPrefix.length) as VersionId)
        .sort(),
    recordText(id) {
      const name = recordPrefix + id;
      return Object.hasOwn(document, name) ? String(document[name]) : undefined;
    },
    save: () => Automerge.save(document),
    free: () => Automerge.free(document),
  };
}

/** A change's actor is the 32 bytes of its version's id. */
function versionOfChange(document: Automerge.Doc<unknown>, hash: string): VersionId {
  const actor = Automerge.inspectChange(document, hash)?.actor;
  const bytes = actor === undefined ? undefined : fromHex(actor);
  if (bytes === undefined) throw new Error(`the document lacks its own change ${hash}`);
  return toBase32(bytes) as VersionId;
}
