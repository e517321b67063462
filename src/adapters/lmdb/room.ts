import { type StatsFs, statfsSync } from 'node:fs';
import { MeshError } from '../../ports/mesh-error.ts';

/**
 * Room that is left free, for what the estimate below misses and what others write meanwhile. A few rows need less of it than
 * a client's write does: so a node can start, and remove what makes room, where nothing more can be stored.
 */
const spareBytesMax = 2 ** 20;
const spareBytesPerWrite = 128 * 1024;
/** A written key has its page copied, and a share of the pages above it. */
const bytesPerWrite = 8 * 1024;

/** Of the free pages of its file LMDB can use about so many: some are kept for readers, some lie too far apart for a long row. */
const usableShare = 1 / 2;

/** What a file system tells of its room, in blocks; no blocks at all where it tells nothing. */
export type StatRoom = (path: string) => Pick<StatsFs, 'blocks' | 'bavail' | 'bsize'>;

export interface RoomWanted {
  readonly writes: number;
  readonly bytes: number;
  /** Bytes of the file's pages that hold nothing, which LMDB writes again before the file grows. Asked only when it matters. */
  readonly freeInFile: () => number;
}

/**
 * How many bytes more there are on a disk than so many writes take; fewer than none where they have room in the file itself.
 * Throws `MeshError` `disk_full` unless they have room on either. LMDB must not find that out itself: lmdb 3.5.6 prints what it
 * could not write into a buffer that is too small (`mdb_page_flush` in mdb.c, a hundred bytes), which may end the process or
 * change its memory. A quota is not seen here, nor the room of a file system that tells no sizes.
 */
export function spareRoom(
  path: string,
  { writes, bytes, freeInFile }: RoomWanted,
  statRoom: StatRoom = statfsSync,
): number {
  const { blocks, bavail, bsize } = roomOf(path, statRoom);
  if (blocks === 0) return 0;
  const room = bavail * bsize;
  const wanted = Math.min(spareBytesMax, writes * spareBytesPerWrite) + writes * bytesPerWrite + bytes;
  if (room >= wanted) return room - wanted;
  if (room >= spareBytesPerWrite && room + usableShare * freeInFile() >= wanted) return room - wanted;
  throw new MeshError('disk_full', `no room to write in ${path}`);
}

function roomOf(path: string, statRoom: StatRoom): ReturnType<StatRoom> {
  try {
    return statRoom(path);
  } catch (cause) {
    throw new MeshError('io_error', `how much room there is in ${path} cannot be told`, { cause });
  }
}
