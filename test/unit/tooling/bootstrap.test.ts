import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

const project = path.resolve(import.meta.dirname, '../../..');

/** The machine's own Node.js, which is the one that really starts there; undefined where only the pinned one is found. */
const machineNode = (process.env.PATH ?? '')
  .split(path.delimiter)
  .filter((folder) => path.isAbsolute(folder) && !folder.includes('node_modules'))
  .map((folder) => path.join(folder, 'node'))
  .find((program) => spawnSync(program, ['--version']).status === 0);

/** Stands in for npm: notes that it ran, takes a moment, and puts this test's Node.js in the pinned one's place. */
const fakeNpm = `
const { appendFileSync, mkdirSync, rmSync, symlinkSync } = require('node:fs');
appendFileSync('npm.log', process.argv.slice(2).join(' ') + '\\n');
console.log('npm prints this');
setTimeout(() => {
  rmSync('node_modules', { recursive: true, force: true });
  mkdirSync('node_modules/.bin', { recursive: true });
  if (process.env.FAKE_NPM !== 'without-node') symlinkSync(process.env.FAKE_NODE, 'node_modules/.bin/node');
  if (process.env.FAKE_NPM === 'fails') console.error('npm error code E404');
  process.exit(process.env.FAKE_NPM === 'fails' ? 1 : 0);
}, process.env.FAKE_NPM === 'hangs' ? 60_000 : 300);
`;

const program = `
if (process.argv[2] === 'wait') {
  process.on('SIGTERM', () => { console.log('drained'); process.exit(7); });
  setInterval(() => {}, 1000);
}
console.log('program', ...process.argv.slice(2));
if (process.argv[2] === 'exit') process.exit(Number(process.argv[3]));
`;

let root: string;

beforeEach(async () => {
  root = await mkdtemp(path.join(tmpdir(), 'anabranch-bootstrap-'));
  await mkdir(path.join(root, 'src'));
  await copyFile(path.join(project, 'src/bootstrap.mjs'), path.join(root, 'src/bootstrap.mjs'));
  await writeFile(path.join(root, 'package-lock.json'), '{}');
  await writeFile(path.join(root, 'npm-cli.js'), fakeNpm);
  await writeFile(path.join(root, 'program.mjs'), program);
});

afterEach(async () => {
  await rm(root, { recursive: true, force: true });
});

interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

const start = (
  programArguments: readonly string[],
  extraEnv: NodeJS.ProcessEnv = {},
  node: string = process.execPath,
): ChildProcess =>
  spawn(node, ['src/bootstrap.mjs', 'program.mjs', ...programArguments], {
    cwd: root,
    env: {
      ...process.env,
      npm_execpath: path.join(root, 'npm-cli.js'),
      FAKE_NODE: process.execPath,
      ...extraEnv,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });

const finished = (child: ChildProcess): Promise<Finished> =>
  new Promise((resolve) => {
    let stdout = '';
    let stderr = '';
    child.stdout?.on('data', (bytes: Buffer) => {
      stdout += bytes.toString();
    });
    child.stderr?.on('data', (bytes: Buffer) => {
      stderr += bytes.toString();
    });
    child.on('close', (code) => resolve({ code, stdout, stderr }));
  });

const run = (programArguments: readonly string[], extraEnv?: NodeJS.ProcessEnv): Promise<Finished> =>
  finished(start(programArguments, extraEnv));

const installs = async (): Promise<number> => {
  const log = await readFile(path.join(root, 'npm.log'), 'utf8').catch(() => '');
  return log.split('\n').length - 1;
};

const lockFiles = async (): Promise<string[]> =>
  (await readdir(root)).filter((name) => name.startsWith('.install.lock'));

test('installs once, before the first program, and prints nothing of npm when all goes well', async () => {
  const first = await run(['a', 'b c']);
  expect(first).toMatchObject({ code: 0, stdout: 'program a b c\n' });
  expect(first.stderr).toMatch(/^anabranch: installing .*\nanabranch: dependencies installed in \d+ s\n$/);
  expect(await run(['again'])).toEqual({ code: 0, stdout: 'program again\n', stderr: '' });
  expect(await installs()).toBe(1);
  expect(await readFile(path.join(root, 'npm.log'), 'utf8')).toMatch(/^ci --include=dev /);
});

test('installs again when the lockfile has changed', async () => {
  await run([]);
  await writeFile(path.join(root, 'package-lock.json'), '{"changed":true}');
  await run([]);
  expect(await installs()).toBe(2);
});

test('two programs started at once share one install', async () => {
  const results = await Promise.all([run(['one']), run(['two']), run(['three'])]);
  expect(results.map(({ stdout }) => stdout).sort()).toEqual(['program one\n', 'program three\n', 'program two\n']);
  expect(await installs()).toBe(1);
  expect(await lockFiles()).toEqual([]);
});

test('takes over the lock of an install whose process is gone', async () => {
  const gone = start([]);
  const pid = gone.pid;
  await finished(gone);
  await rm(path.join(root, 'node_modules'), { recursive: true });
  await writeFile(path.join(root, '.install.lock'), `${pid} ${hostname()} 1\n`);
  expect(await run(['after'])).toMatchObject({ code: 0, stdout: 'program after\n' });
  expect(await lockFiles()).toEqual([]);
});

test('shows what npm printed when the install fails, runs nothing, and tries again the next time', async () => {
  const failed = await run(['never'], { FAKE_NPM: 'fails' });
  expect(failed).toMatchObject({ code: 1, stdout: '' });
  expect(failed.stderr).toContain('npm prints this\nnpm error code E404');
  expect(failed.stderr).toContain('the dependencies could not be installed');
  expect(await lockFiles()).toEqual([]);
  expect(await run(['now'])).toMatchObject({ code: 0, stdout: 'program now\n' });
});

test('says so when the pinned Node.js is not there after the install', async () => {
  const failed = await run(['never'], { FAKE_NPM: 'without-node' });
  expect(failed).toMatchObject({ code: 1, stdout: '' });
  expect(failed.stderr).toContain('did not install the pinned Node.js');
});

test('runs on its own Node.js when npm was told to ignore scripts and the version is the pinned one', async () => {
  const lockfile = { packages: { 'node_modules/node': { version: process.versions.node } } };
  await writeFile(path.join(root, 'package-lock.json'), JSON.stringify(lockfile));
  expect(await run(['here'], { FAKE_NPM: 'without-node' })).toMatchObject({ code: 0, stdout: 'program here\n' });
});

test('stops npm, frees the lock and runs nothing when a signal comes during the install', async () => {
  const child = start(['never'], { FAKE_NPM: 'hangs' });
  child.stderr?.once('data', () => child.kill('SIGTERM'));
  expect(await finished(child)).toMatchObject({ code: 143, stdout: '' });
  expect(await lockFiles()).toEqual([]);
});

test.skipIf(machineNode === undefined)(
  'starts on the machine’s own Node.js, and runs the program on the pinned one',
  async () => {
    await writeFile(path.join(root, 'program.mjs'), 'console.log(process.version); process.exit(5);');
    const first = await finished(start([], {}, machineNode));
    expect(first).toMatchObject({ code: 5, stdout: `${process.version}\n` });
    expect(first.stderr).toMatch(/^anabranch: installing .*\nanabranch: dependencies installed in \d+ s\n$/);
  },
);

// An old Node.js cannot replace itself by the program, which is then a child: both ways have to behave the same.
describe.each([
  { way: 'as the program itself', env: {} },
  { way: 'through a child', env: { NODE_OPTIONS: '--import=data:text/javascript,process.execve=undefined' } },
])('a program that runs $way', ({ env }) => {
  test('passes its exit code on', async () => {
    expect(await run(['exit', '3'], env)).toMatchObject({ code: 3 });
  });

  test('gets the signal that stops it, once, and ends in its own way', async () => {
    const child = start(['wait'], env);
    child.stdout?.once('data', () => child.kill('SIGTERM'));
    expect(await finished(child)).toMatchObject({ code: 7, stdout: 'program wait\ndrained\n' });
  });

  test('finds the installed programs first on its search path', async () => {
    await writeFile(path.join(root, 'program.mjs'), "console.log(process.env.PATH.split(':')[0]);");
    expect((await run([], env)).stdout).toBe(`${path.join(root, 'node_modules/.bin')}\n`);
  });
});
