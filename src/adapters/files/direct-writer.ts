import { constants } from 'node:fs';
import { defaultChunking } from '../../../crdt/chunking.ts';
import type { BlobFiles } from './blob-store.ts';
import { codeOf } from './file-error.ts';
import type { OpenFile } from './open-file.ts';

/** Shorter files are written faster through the cache. */
const directBytesMin = 64 * 1024;
/** Longer ones are rare, and room for them would have to be kept. */
const slotBytes = defaultChunking.max;
/** Where a write past the cache may begin, in memory and on disk: a multiple of every usual disk's block. */
const blockBytes = 4_096;
const wasmPageBytes = 64 * 1024;

/** What is used of it; its types come only with the browser's. */
declare const WebAssembly: {
  readonly Memory: new (pages: {
    readonly initial: number;
    readonly maximum: number;
  }) => {
    readonly buffer: ArrayBuffer;
  };
};

/** What a file system answers that takes no such writes. */
const unsupportedCodes: ReadonlySet<string | undefined> = new Set(['EINVAL', 'ENOTSUP', 'EOPNOTSUPP']);

/**
 * Writes files past the system's page cache (`O_DIRECT`): what nobody will read soon then costs no copy into memory that
 * others could use. Such writes take whole blocks from aligned memory, which WebAssembly has and a `Buffer` has not; so
 * each file is copied into a slot of one such memory, padded, and cut to its length once it is written.
 */
export class DirectWriter {
  readonly #files: Pick<BlobFiles, 'open'>;
  readonly #slotCount: number;
  /** The memory that is not in use; made with the first file. */
  #freeSlots: Uint8Array[] | undefined;
  #isSupported = constants.O_DIRECT !== undefined;

  /** @param slotCount files that may be written at once */
  constructor(files: Pick<BlobFiles, 'open'>, slotCount: number) {
    this.#files = files;
    this.#slotCount = slotCount;
  }

  /**
   * Writes and syncs a file; false when it is to be written in another way, since it has not the size for this one, or
   * the platform or file system knows it not. Rejects as the system does; then a part of the file may be there.
   */
  async write(path: string, bytes: Uint8Array): Promise<boolean> {
    if (!this.#isSupported || bytes.length < directBytesMin || bytes.length > slotBytes) return false;
    this.#freeSlots ??= alignedSlots(this.#slotCount);
    const slot = this.#freeSlots.pop();
    if (slot === undefined) return false;
    try {
      await this.#write(path, padded(slot, bytes), bytes.length);
      return true;
    } catch (error) {
      if (!unsupportedCodes.has(codeOf(error))) throw error;
      this.#isSupported = false;
      return false;
    } finally {
      this.#freeSlots.push(slot);
    }
  }

  async #write(path: string, blocks: Uint8Array, length: number): Promise<void> {
    const { O_WRONLY, O_CREAT, O_TRUNC, O_DIRECT } = constants;
    const handle = await this.#files.open(path, O_WRONLY | O_CREAT | O_TRUNC | O_DIRECT, 0o600);
    try {
      for (let offset = 0; offset < blocks.length; ) offset = await writeBlocks(handle, blocks, offset);
      if (length < blocks.length) await handle.truncate(length);
      await handle.datasync();
    } finally {
      handle.close();
    }
  }
}

/** Writes what it can from a block on, and gives the first one that is not written whole. */
async function writeBlocks(handle: OpenFile, blocks: Uint8Array, offset: number): Promise<number> {
  const { bytesWritten } = await handle.write(blocks, offset, blocks.length - offset, offset);
  const wholeBlocks = Math.floor(bytesWritten / blockBytes);
  if (wholeBlocks === 0) throw new Error('the file system takes no more blocks and does not say why');
  return offset + wholeBlocks * blockBytes;
}

/** The bytes in a slot, with zeros up to the end of their last block. */
function padded(slot: Uint8Array, bytes: Uint8Array): Uint8Array {
  const blocks = slot.subarray(0, Math.ceil(bytes.length / blockBytes) * blockBytes);
  blocks.set(bytes);
  blocks.fill(0, bytes.length);
  return blocks;
}

/** Memory that begins at multiples of every block size; none where so many addresses are not to be had. What is never written to takes no room. */
function alignedSlots(count: number): Uint8Array[] {
  const pages = Math.ceil((count * slotBytes) / wasmPageBytes);
  try {
    const { buffer } = new WebAssembly.Memory({ initial: pages, maximum: pages });
    return Array.from({ length: count }, (_, slot) => new Uint8Array(buffer, slot * slotBytes, slotBytes));
  } catch (error) {
    if (error instanceof RangeError) return [];
    throw error;
  }
}
