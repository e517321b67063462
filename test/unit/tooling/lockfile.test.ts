import { execFile } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';

const script = path.resolve(import.meta.dirname, '../../../.ci/complete-lockfile.mjs');

let root: string;

beforeEach(async () => {
  root = await mkdtemp(path.join(tmpdir(), 'anabranch-lockfile-'));
  await mkdir(path.join(root, '.ci'));
  await copyFile(script, path.join(root, '.ci/complete-lockfile.mjs'));
});

afterEach(async () => {
  await rm(root, { recursive: true, force: true });
});

const complete = (...options: string[]): Promise<{ code: number; stderr: string }> =>
  new Promise((resolve) => {
    execFile(process.execPath, [path.join(root, '.ci/complete-lockfile.mjs'), ...options], (error, _, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stderr });
    });
  });

const lockWith = async (packages: Readonly<Record<string, unknown>>): Promise<void> => {
  await writeFile(path.join(root, 'package-lock.json'), JSON.stringify({ lockfileVersion: 3, packages }));
};

const lockedPackages = async (): Promise<unknown> =>
  JSON.parse(await readFile(path.join(root, 'package-lock.json'), 'utf8')).packages;

const tool = (optionalDependencies: Readonly<Record<string, string>>) => ({
  version: '1.0.0',
  dev: true,
  optionalDependencies,
});

test('adds the platform packages that are missing, so that npm installs each on its own platform only', async () => {
  const parent = tool({
    '@tool/cli-darwin-arm64': '1.0.0',
    '@tool/cli-linux-x64-musl': '1.0.0',
    '@tool/cli-win32-x64-msvc': '1.0.0',
    '@tool/cli-linux-arm-gnueabihf': '1.0.0',
    '@tool/cli-wasm32-wasi': '1.0.0',
    '@tool/cli-linux-x64': '1.0.0',
  });
  const here = { version: '1.0.0', cpu: ['x64'], integrity: 'sha512-kept', optional: true, os: ['linux'] };
  await lockWith({ '': {}, 'node_modules/tool': parent, 'node_modules/@tool/cli-linux-x64': here });
  expect(await complete()).toMatchObject({ code: 0 });
  const added = { version: '1.0.0', dev: true, optional: true };
  expect(await lockedPackages()).toEqual({
    '': {},
    'node_modules/tool': parent,
    'node_modules/@tool/cli-linux-x64': here,
    'node_modules/@tool/cli-darwin-arm64': { ...added, cpu: ['arm64'], os: ['darwin'] },
    'node_modules/@tool/cli-linux-x64-musl': { ...added, cpu: ['x64'], libc: ['musl'], os: ['linux'] },
    'node_modules/@tool/cli-win32-x64-msvc': { ...added, cpu: ['x64'], os: ['win32'] },
    'node_modules/@tool/cli-linux-arm-gnueabihf': { ...added, cpu: ['arm'], libc: ['glibc'], os: ['linux'] },
    'node_modules/@tool/cli-wasm32-wasi': { ...added, cpu: ['wasm32'] },
  });
});

test('leaves a package that ships inside its parent alone', async () => {
  const packages = {
    'node_modules/tool': tool({ '@tool/cli-linux-x64': '1.0.0' }),
    'node_modules/tool/node_modules/@tool/cli-linux-x64': { version: '1.0.0', optional: true },
  };
  await lockWith(packages);
  expect(await complete('--check')).toEqual({ code: 0, stderr: '' });
});

test('refuses to guess a version or a platform', async () => {
  await lockWith({ 'node_modules/tool': tool({ '@tool/cli-linux-x64': '^1.0.0' }) });
  expect(await complete()).toMatchObject({ code: 1, stderr: expect.stringContaining('add it by hand') });
  await lockWith({ 'node_modules/tool': tool({ fsevents: '2.3.3' }) });
  expect(await complete()).toMatchObject({ code: 1, stderr: expect.stringContaining('add it by hand') });
});

test('the check reports a missing package and a registry address, and changes nothing', async () => {
  const packages = {
    'node_modules/tool': { ...tool({ '@tool/cli-linux-x64': '1.0.0' }), resolved: 'https://registry.example/tool.tgz' },
  };
  await lockWith(packages);
  const { code, stderr } = await complete('--check');
  expect(code).toBe(1);
  expect(stderr).toBe(
    'package-lock.json has no entry for node_modules/@tool/cli-linux-x64\n' +
      'package-lock.json names a registry for node_modules/tool\n',
  );
  expect(await lockedPackages()).toEqual(packages);
});
