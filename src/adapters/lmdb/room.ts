import { statfsSync } from 'node:fs';
import { MeshError } from '../../ports/mesh-error.ts';

/**
 * Room that is left free, for what the estimate below misses and what others write meanwhile. A few rows need less of it than
 * a client's write does: so a node can start, and remove what makes room, where nothing more can be stored.
 */
const spareBytesMax = 2 ** 20;
const spareBytesPerWrite = 128 * 1024;
/** A written key has its page copied, and a share of the pages above it. */
const bytesPerWrite = 8 * 1024;

/**
 * Throws `MeshError` `disk_full` unless the disk has room for so many writes. LMDB must not find that out itself: lmdb 3.5.6
 * prints what it could not write into a buffer that is too small (`mdb_page_flush` in mdb.c, a hundred bytes), which may end
 * the process or change its memory. A quota is not seen here.
 */
export function assertRoom(path: string, { writes, bytes }: { readonly writes: number; readonly bytes: number }): void {
  const { bavail, bsize } = statfsSync(path);
  const spareBytes = Math.min(spareBytesMax, writes * spareBytesPerWrite);
  if (bavail * bsize >= spareBytes + writes * bytesPerWrite + bytes) return;
  throw new MeshError('disk_full', `no room to write in ${path}`);
}
