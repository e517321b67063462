import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { makeDirectory } from '../../src/make-directory.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'anabranch-make-'));
});
afterEach(() => rm(folder, { recursive: true }));

it('makes what it lies in as well, each with the mode, also when several are at it', async () => {
  const path = join(folder, 'a', 'b', 'c');
  await Promise.all([makeDirectory(path, 0o700), makeDirectory(path, 0o700)]);
  for (const made of [path, join(path, '..'), join(path, '..', '..')]) {
    expect((await stat(made)).mode & 0o777).toBe(0o700);
  }
});

it('takes a directory that is there as it is', async () => {
  const before = (await stat(folder)).mode;
  await makeDirectory(folder, 0o711);
  expect((await stat(folder)).mode).toBe(before);
});

it.each(['file', 'file/below'])('fails where %s is not a directory', async (name) => {
  await writeFile(join(folder, 'file'), '');
  await expect(makeDirectory(join(folder, name))).rejects.toThrow(/EEXIST|ENOTDIR/);
});

it('fails where no directory can be made, and ends', async () => {
  await expect(makeDirectory('/proc/anabranch/below')).rejects.toThrow();
});
