import { constants } from 'node:fs';
import * as nodeFiles from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type BlobFiles, systemFiles } from '../../../src/adapters/files/blob-store.ts';
import { DirectWriter } from '../../../src/adapters/files/direct-writer.ts';
import type { OpenFile } from '../../../src/adapters/files/open-file.ts';
import { systemError } from '../../support/small-file-system.ts';

let root: string;
beforeEach(async () => {
  root = await nodeFiles.mkdtemp(join(tmpdir(), 'anabranch-direct-'));
});
afterEach(() => nodeFiles.rm(root, { recursive: true }));

const bytesOf = (length: number): Uint8Array => Uint8Array.from({ length }, (_, at) => (at * 31 + (at >> 8)) & 0xff);

type Write = OpenFile['write'];

/**
 * The real files without `O_DIRECT`, which not every temporary directory has, noting how each was opened; `write` may do
 * something else than write all.
 */
function plainFiles(write?: (real: Write, ...what: Parameters<Write>) => ReturnType<Write>) {
  const flags: number[] = [];
  const files: Pick<BlobFiles, 'open'> = {
    open: async (path, flag, mode) => {
      flags.push(flag as number);
      const handle = await systemFiles.open(path, (flag as number) & ~constants.O_DIRECT, mode);
      const real = handle.write.bind(handle);
      return write === undefined ? handle : Object.assign(handle, { write: write.bind(undefined, real) });
    },
  };
  return { files, flags };
}

describe.skipIf(constants.O_DIRECT === undefined)('writing past the cache', () => {
  it.each([65_536, 65_537, 100_000, 2 * 1_048_576])('leaves a file of exactly %i bytes', async (length) => {
    const { files, flags } = plainFiles();
    const path = join(root, 'file');
    expect(await new DirectWriter(files, 1).write(path, bytesOf(length))).toBe(true);
    expect(new Uint8Array(await nodeFiles.readFile(path))).toEqual(bytesOf(length));
    expect(flags.every((flag) => (flag & constants.O_DIRECT) !== 0)).toBe(true);
  });

  it('hands over whole blocks, and nothing of an earlier file', async () => {
    const handed: Uint8Array[] = [];
    const { files } = plainFiles((real, buffer, offset, length, position) => {
      handed.push(buffer.slice(offset, offset + length));
      return real(buffer, offset, length, position);
    });
    const writer = new DirectWriter(files, 1);
    await writer.write(join(root, 'longer'), bytesOf(200_000).fill(7));
    await writer.write(join(root, 'shorter'), bytesOf(70_000));
    expect(handed.map(({ length }) => length)).toEqual([200_704, 73_728]);
    expect(handed[1]?.subarray(70_000).every((byte) => byte === 0)).toBe(true);
  });

  it('goes on from the last whole block when less was written than was asked for', async () => {
    const lengths: number[] = [];
    const { files } = plainFiles((real, buffer, offset, length, position) => {
      lengths.push(length);
      return real(buffer, offset, Math.min(length, 50_000), position);
    });
    const path = join(root, 'file');
    expect(await new DirectWriter(files, 1).write(path, bytesOf(100_000))).toBe(true);
    expect(new Uint8Array(await nodeFiles.readFile(path))).toEqual(bytesOf(100_000));
    expect(lengths).toEqual([102_400, 53_248, 4_096]);
  });

  it('leaves short and very long files, and those that find no room, to others', async () => {
    const { files, flags } = plainFiles();
    const writer = new DirectWriter(files, 1);
    expect(await writer.write(join(root, 'short'), bytesOf(65_535))).toBe(false);
    expect(await writer.write(join(root, 'long'), bytesOf(2 * 1_048_576 + 1))).toBe(false);
    const both = ['one', 'two'].map((name) => writer.write(join(root, name), bytesOf(70_000)));
    expect(await Promise.all(both)).toEqual([true, false]);
    expect(flags).toHaveLength(1);
  });

  it.each(['open', 'write'])('is not tried again where the file system refuses the %s', async (refused) => {
    let calls = 0;
    const files: Pick<BlobFiles, 'open'> = {
      open: async (path, flag, mode) => {
        calls += 1;
        if (refused === 'open') throw systemError('EINVAL');
        const handle = await systemFiles.open(path, (flag as number) & ~constants.O_DIRECT, mode);
        return Object.assign(handle, { write: () => Promise.reject(systemError('EINVAL')) });
      },
    };
    const writer = new DirectWriter(files, 2);
    expect(await writer.write(join(root, 'one'), bytesOf(70_000))).toBe(false);
    expect(await writer.write(join(root, 'two'), bytesOf(70_000))).toBe(false);
    expect(calls).toBe(1);
  });

  it('says when the disk is full or fails, and takes files again afterwards', async () => {
    let code: string | undefined = 'ENOSPC';
    const { files } = plainFiles((real, ...range) => {
      if (code !== undefined) throw systemError(code);
      return real(...range);
    });
    const writer = new DirectWriter(files, 1);
    await expect(writer.write(join(root, 'file'), bytesOf(70_000))).rejects.toMatchObject({ code: 'ENOSPC' });
    code = undefined;
    expect(await writer.write(join(root, 'file'), bytesOf(70_000))).toBe(true);
  });
});
