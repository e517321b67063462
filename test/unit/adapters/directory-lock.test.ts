import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { lockDirectory } from '../../../src/adapters/files/directory-lock.ts';

const holder = new URL('../../support/hold-directory.ts', import.meta.url).pathname;

let directory: string;
let children: ChildProcess[];
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'anabranch-lock-'));
  children = [];
});
afterEach(async () => {
  for (const child of children) await end(child);
  await rm(directory, { recursive: true });
});

/** Starts a process that tries to take the lock, and gives back what it says about it and on stderr. */
const startHolder = async (): Promise<{ child: ChildProcess; said: string; complaints: () => string }> => {
  const child = spawn(process.execPath, ['--expose-gc', holder, directory], { stdio: ['pipe', 'pipe', 'pipe'] });
  children.push(child);
  let complaints = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaints += text;
  });
  const [said] = (await once(child.stdout.setEncoding('utf8'), 'data')) as [string];
  return { child, said: said.trim(), complaints: () => complaints };
};

const end = async (child: ChildProcess): Promise<void> => {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
};

describe('the directory lock', () => {
  it('lets one process in at a time, names it to the other, and is free once that one is killed', async () => {
    const first = await startHolder();
    expect(first.said).toBe('locked');
    await expect(lockDirectory(directory)).rejects.toMatchObject({
      name: 'MeshError',
      code: 'directory_in_use',
      message: `${directory} is in use by process ${first.child.pid}`,
      detail: { directory, pid: first.child.pid },
    });
    const second = await startHolder();
    expect(second.said).toBe(`${directory} is in use by process ${first.child.pid}`);
    await end(first.child);
    const lock = await lockDirectory(directory);
    expect(await readFile(join(directory, 'pid'), 'utf8')).toBe(`${process.pid}\n`);
    await lock.release();
    expect(first.complaints() + second.complaints()).toBe('');
  });

  it('keeps the same process out too, again and again, and other processes still after that', async () => {
    const lock = await lockDirectory(directory);
    for (let attempt = 0; attempt < 3; attempt++) {
      await expect(lockDirectory(directory)).rejects.toMatchObject({
        code: 'directory_in_use',
        detail: { pid: process.pid },
      });
    }
    expect((await startHolder()).said).toBe(`${directory} is in use by process ${process.pid}`);
    await lock.release();
    await (await lockDirectory(directory)).release();
  });

  it('is released once, however often that is asked, and leaves no pid', async () => {
    const lock = await lockDirectory(directory);
    await lock.release();
    await lock.release();
    const next = await lockDirectory(directory);
    await lock.release();
    await expect(lockDirectory(directory)).rejects.toMatchObject({ code: 'directory_in_use' });
    await next.release();
    expect(await readdir(directory)).toEqual(['lock']);
  });

  it('holds although nobody keeps the handle and memory is collected', async () => {
    const { said, child } = await startHolder();
    expect(said).toBe('locked');
    await expect(lockDirectory(directory)).rejects.toMatchObject({ code: 'directory_in_use' });
    await end(child);
  });

  it('speaks of another process when the pid file says nothing it can use', async () => {
    const lock = await lockDirectory(directory);
    await writeFile(join(directory, 'pid'), 'nonsense');
    await expect(lockDirectory(directory)).rejects.toMatchObject({
      message: `${directory} is in use by another process`,
      detail: { directory },
    });
    await lock.release();
  });

  it('does not mistake a directory that is absent, or a lock that is no lock, for one in use', async () => {
    await expect(lockDirectory(join(directory, 'absent'))).rejects.toMatchObject({ code: 'io_error' });
    await writeFile(join(directory, 'lock'), 'this is no database, and long enough to be looked at as one'.repeat(20));
    await expect(lockDirectory(directory)).rejects.toMatchObject({ code: 'io_error' });
  });
});
