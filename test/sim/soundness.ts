import { blake3, blobHashOf, toBase32 } from '../../crdt/digest.ts';
import type { BlobHash, VersionId } from '../../crdt/ids.ts';
import { decodeManifest } from '../../crdt/manifest.ts';
import { blobKey } from '../../src/node/content/content-keys.ts';
import { textOfRow } from '../../src/node/rows.ts';
import { versionKey } from '../../src/node/storage-keys.ts';
import type { Machine } from './machine.ts';

/** Which state of a disk: as its process sees it, or what a power loss would leave at the least. */
type Moment = 'now' | 'durable';

/** The simulated disks hand out one array for one value and never change it in place, so each is hashed and read once. */
const blobHashes = new WeakMap<Uint8Array, BlobHash>();
const versionIds = new WeakMap<Uint8Array, string>();
const namesOf = new WeakMap<Uint8Array, Names>();

/** What a manifest names: chunks, or manifests of parts. */
interface Names {
  readonly areChunks: boolean;
  readonly hashes: readonly BlobHash[];
}

/** True when the version's text is on the disk and is what its id says. */
export function isVersionIntact(machine: Machine, id: VersionId, moment: Moment): boolean {
  const store = moment === 'now' ? machine.kv : machine.kv.durable();
  const row = store.get(versionKey(id));
  return row !== undefined && idOfRow(row) === id;
}

function idOfRow(row: Uint8Array): string {
  let id = versionIds.get(row);
  if (id === undefined) {
    id = toBase32(blake3(textOfRow(row)));
    versionIds.set(row, id);
  }
  return id;
}

/** True when the manifest and every chunk it names are on the disk and match their hashes. */
export function isContentIntact(machine: Machine, manifest: BlobHash, moment: Moment): boolean {
  return blobsOf(machine, manifest, moment).every((hash) => intactBlob(machine, hash, moment) !== undefined);
}

/** The manifest, and the manifests and chunks below it as far as manifests can be read. */
export function blobsOf(machine: Machine, manifest: BlobHash, moment: Moment): BlobHash[] {
  const bytes = intactBlob(machine, manifest, moment);
  const named = bytes === undefined ? undefined : namesIn(bytes);
  if (named === undefined) return [manifest];
  if (named.areChunks) return [manifest, ...named.hashes];
  return [manifest, ...named.hashes.flatMap((part) => blobsOf(machine, part, moment))];
}

/** What a manifest names; undefined when it cannot be read. */
function namesIn(bytes: Uint8Array): Names | undefined {
  const known = namesOf.get(bytes);
  if (known !== undefined) return known;
  const decoded = decodeManifest(bytes);
  if (!decoded.ok) return undefined;
  const areChunks = decoded.value.kind === 'leaf';
  const parts = decoded.value.kind === 'leaf' ? decoded.value.chunks : decoded.value.parts;
  const names = { areChunks, hashes: parts.map((part) => part.hash) };
  namesOf.set(bytes, names);
  return names;
}

function hashOf(bytes: Uint8Array): BlobHash {
  const known = blobHashes.get(bytes);
  if (known !== undefined) return known;
  const hash = blobHashOf(bytes);
  blobHashes.set(bytes, hash);
  return hash;
}

function intactBlob(machine: Machine, hash: BlobHash, moment: Moment): Uint8Array | undefined {
  const large = blobOnDisk(machine, hash, moment);
  if (large !== undefined && hashOf(large) === hash) return large;
  const store = moment === 'now' ? machine.kv : machine.kv.durable();
  const small = store.get(blobKey(hash));
  return small !== undefined && hashOf(small) === hash ? small : undefined;
}

function blobOnDisk({ blobs }: Machine, hash: BlobHash, moment: Moment): Uint8Array | undefined {
  return moment === 'now' ? blobs.peek(hash) : blobs.durable(hash);
}
