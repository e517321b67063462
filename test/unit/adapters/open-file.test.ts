import { readdirSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { OpenFile, openFile } from '../../../src/adapters/files/open-file.ts';

let path: string;
beforeEach(async () => {
  path = join(await mkdtemp(join(tmpdir(), 'anabranch-open-')), 'file');
});
afterEach(() => rm(join(path, '..'), { recursive: true }));

const bytes = Uint8Array.of(1, 2, 3, 4, 5, 6);

describe('an open file', () => {
  it('writes where it is told, and is as long as was written or cut', async () => {
    const file = await openFile(path, 'w', 0o600);
    expect(await file.write(bytes, 2, 3, 1)).toEqual({ bytesWritten: 3 });
    expect(file.sizeBytes()).toBe(4);
    await file.truncate(3);
    await file.datasync();
    await file.sync();
    expect(file.sizeBytes()).toBe(3);
    file.close();
    expect(new Uint8Array(await readFile(path))).toEqual(Uint8Array.of(0, 3, 4));
  });

  it('reads what there is from a place, and nothing behind the end', async () => {
    await writeFile(path, bytes);
    const file = await openFile(path, 'r');
    const into = new Uint8Array(8);
    expect(await file.read(into, 1, 7, 4)).toEqual({ bytesRead: 2 });
    expect(into).toEqual(Uint8Array.of(0, 5, 6, 0, 0, 0, 0, 0));
    expect(await file.read(into, 0, 1, 6)).toEqual({ bytesRead: 0 });
    file.close();
  });

  it('rejects with what the system says', async () => {
    await expect(openFile(path, 'r')).rejects.toMatchObject({ code: 'ENOENT' });
    await writeFile(path, bytes);
    const file = await openFile(path, 'r');
    await expect(file.write(bytes, 0, 1, 0)).rejects.toMatchObject({ code: 'EBADF' });
    await expect(file.truncate(0)).rejects.toMatchObject({ code: 'EINVAL' });
    file.close();
    expect(() => new OpenFile(2 ** 20).sizeBytes()).toThrow(expect.objectContaining({ code: 'EBADF' }));
  });

  it.skipIf(process.platform !== 'linux')('keeps no descriptor once it is closed', async () => {
    await writeFile(path, bytes);
    const before = readdirSync('/proc/self/fd').length;
    for (let round = 0; round < 20; round += 1) (await openFile(path, 'r')).close();
    expect(readdirSync('/proc/self/fd').length).toBeLessThan(before + 20);
  });
});
