import { blake3, blobHashOf, toBase32 } from '../../crdt/digest.ts';
import type { BlobHash, VersionId } from '../../crdt/ids.ts';
import { decodeManifest } from '../../crdt/manifest.ts';
import { blobKey } from '../../src/node/content/content-keys.ts';
import { textOfRow } from '../../src/node/rows.ts';
import { versionKey } from '../../src/node/storage-keys.ts';
import type { Machine } from './machine.ts';

/** Which state of a disk: as its process sees it, or what a power loss would leave at the least. */
type Moment = 'now' | 'durable';

/** True when the version's text is on the disk and is what its id says. */
export function isVersionIntact(machine: Machine, id: VersionId, moment: Moment): boolean {
  const store = moment === 'now' ? machine.kv : machine.kv.durable();
  const row = store.get(versionKey(id));
  return row !== undefined && toBase32(blake3(textOfRow(row))) === id;
}

/** True when the manifest and every chunk it names are on the disk and match their hashes. */
export function isContentIntact(machine: Machine, manifest: BlobHash, moment: Moment): boolean {
  return blobsOf(machine, manifest, moment).every((hash) => intactBlob(machine, hash, moment) !== undefined);
}

/** The manifest, and the manifests and chunks below it as far as manifests can be read. */
export function blobsOf(machine: Machine, manifest: BlobHash, moment: Moment): BlobHash[] {
  const bytes = intactBlob(machine, manifest, moment);
  const decoded = bytes === undefined ? undefined : decodeManifest(bytes);
  if (!decoded?.ok) return [manifest];
  const { value } = decoded;
  if (value.kind === 'leaf') return [manifest, ...value.chunks.map((chunk) => chunk.hash)];
  return [manifest, ...value.parts.flatMap((part) => blobsOf(machine, part.hash, moment))];
}

function intactBlob(machine: Machine, hash: BlobHash, moment: Moment): Uint8Array | undefined {
  const store = moment === 'now' ? machine.kv : machine.kv.durable();
  for (const bytes of [store.get(blobKey(hash)), blobOnDisk(machine, hash, moment)]) {
    if (bytes !== undefined && blobHashOf(bytes) === hash) return bytes;
  }
  return undefined;
}

function blobOnDisk({ blobs }: Machine, hash: BlobHash, moment: Moment): Uint8Array | undefined {
  return moment === 'now' ? blobs.peek(hash) : blobs.durable(hash);
}
