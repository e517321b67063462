import { mkdir, mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { writeFileAtomic } from '../../../src/adapters/files/atomic-file.ts';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'anabranch-atomic-'));
});
afterEach(() => rm(directory, { recursive: true }));

describe('writing a file atomically', () => {
  it('creates it for its owner only, and replaces it as a whole', async () => {
    const path = join(directory, 'swarm.json');
    await writeFileAtomic(path, '{"nodes":[1,2,3]}');
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    await writeFileAtomic(path, Uint8Array.of(123, 125), { mode: 0o644 });
    expect(await readFile(path, 'utf8')).toBe('{}');
    expect((await stat(path)).mode & 0o777).toBe(0o644);
    expect(await readdir(directory)).toEqual(['swarm.json']);
  });

  it('never shows a reader a mixture, when many write at once', async () => {
    const path = join(directory, 'file');
    const contents = Array.from({ length: 10 }, (_, index) => String(index).repeat(100_000));
    await writeFileAtomic(path, contents[0] ?? '');
    const writes = Promise.all(contents.map((content) => writeFileAtomic(path, content)));
    for (let read = 0; read < 20; read++) expect(contents).toContain(await readFile(path, 'utf8'));
    await writes;
    expect(await readdir(directory)).toEqual(['file']);
  });

  it('says what failed and leaves neither the target changed nor a temporary file behind', async () => {
    const occupied = join(directory, 'occupied');
    await mkdir(join(occupied, 'inside'), { recursive: true });
    await expect(writeFileAtomic(occupied, 'x')).rejects.toMatchObject({ name: 'MeshError', code: 'io_error' });
    expect(await readdir(directory)).toEqual(['occupied']);
    await expect(writeFileAtomic(join(directory, 'absent', 'file'), 'x')).rejects.toMatchObject({
      code: 'io_error',
      message: expect.stringContaining('could not write'),
      detail: { system: 'ENOENT' },
    });
  });
});
