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

/** Of a disk with so much room what was told so lately is believed: nobody fills that much in the meantime. */
const ampleBytes = 2 ** 30;
const latelyMs = 20;

/** Asks a file system that has plenty of room once in a while, and any other each time. Every commit asks. */
export function recalledRoom(statRoom: StatRoom = statfsSync, nowMs = () => performance.now()): StatRoom {
  let told: ReturnType<StatRoom> = { blocks: 0, bavail: 0, bsize: 0 };
  let toldMs = Number.NEGATIVE_INFINITY;
  return (path) => {
    const ms = nowMs();
    if (ms - toldMs < latelyMs && told.bavail * told.bsize >= ampleBytes) return told;
    told = statRoom(path);
    toldMs = ms;
    return told;
  };
}

export interface RoomWanted {
  readonly writes: number;
  readonly bytes: number;
  /** Bytes of the file's pages that hold nothing, which LMDB writes again before the file grows. Asked only when it matters. */
  readonly freeInFile: () => number;
}

/**
 * Throws `MeshError` `disk_full` unless there is room for so many writes, on the disk or in the file itself. LMDB must not
 * find that out itself: lmdb 3.5.6 prints what it could not write into a buffer that is too small (`mdb_page_flush` in mdb.c,
 * a hundred bytes), which may end the process or change its memory. A quota is not seen here, nor the room of a file system that
 * tells no sizes.
 */
export function assertRoom(
  path: string,
  { writes, bytes, freeInFile }: RoomWanted,
  statRoom: StatRoom = statfsSync,
): void {
  const { blocks, bavail, bsize } = roomOf(path, statRoom);
  if (blocks === 0) return;
  const room = bavail * bsize;
  const wanted = Math.min(spareBytesMax, writes * spareBytesPerWrite) + writes * bytesPerWrite + bytes;
  if (room >= wanted) return;
  if (room >= spareBytesPerWrite && room + usableShare * freeInFile() >= wanted) return;
  throw new MeshError('disk_full', `no room to write in ${path}`);
}

function roomOf(path: string, statRoom: StatRoom): ReturnType<StatRoom> {
  try {
    return statRoom(path);
  } catch (cause) {
    throw new MeshError('io_error', `how much room there is in ${path} cannot be told`, { cause });
  }
}
