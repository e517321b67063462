import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';

const script = path.resolve(import.meta.dirname, '../../../.ci/complete-lockfile.mjs');

/** Stands in for npm: knows the hashes in registry.json, and no other version; with "down" it gives no answer. */
const fakeNpm = `
const { appendFileSync, readFileSync } = require('node:fs');
const [command, spec, ...rest] = process.argv.slice(2);
appendFileSync('npm.log', [command, spec, ...rest].join(' ') + '\\n');
const registry = JSON.parse(readFileSync('registry.json', 'utf8'));
const fail = (code, summary) => { console.log(JSON.stringify({ error: { code, summary } })); process.exit(1); };
if (registry === 'down') fail('ECONNREFUSED', 'connection refused');
else if (registry[spec] === undefined) fail('E404', 'No match found for ' + spec);
else console.log(JSON.stringify(registry[spec]));
`;

let root: string;

beforeEach(async () => {
  root = await mkdtemp(path.join(tmpdir(), 'anabranch-lockfile-'));
  await mkdir(path.join(root, '.ci'));
  await copyFile(script, path.join(root, '.ci/complete-lockfile.mjs'));
  await writeFile(path.join(root, 'npm-cli.js'), fakeNpm);
  await registryHas({});
});

afterEach(async () => {
  await rm(root, { recursive: true, force: true });
});

const run = (npmCommand: string, ...options: string[]): Promise<{ code: number; stderr: string }> =>
  new Promise((resolve) => {
    const env = { ...process.env, npm_execpath: path.join(root, 'npm-cli.js'), npm_command: npmCommand };
    execFile(
      process.execPath,
      [path.join(root, '.ci/complete-lockfile.mjs'), ...options],
      { env },
      (error, _, stderr) => {
        resolve({ code: error === null ? 0 : Number(error.code), stderr });
      },
    );
  });

const complete = (...options: string[]) => run('install', ...options);

const registryHas = async (hashes: Readonly<Record<string, string>> | 'down'): Promise<void> => {
  await writeFile(path.join(root, 'registry.json'), JSON.stringify(hashes));
};

const questions = (): Promise<string> => readFile(path.join(root, 'npm.log'), 'utf8').catch(() => '');

const lockWith = async (packages: Readonly<Record<string, unknown>>): Promise<void> => {
  await writeFile(path.join(root, 'package-lock.json'), JSON.stringify({ lockfileVersion: 3, packages }));
};

const lockedPackages = async (): Promise<unknown> =>
  JSON.parse(await readFile(path.join(root, 'package-lock.json'), 'utf8')).packages;

const tool = (optionalDependencies: Readonly<Record<string, string>>) => ({
  version: '1.0.0',
  integrity: 'sha512-kept',
  dev: true,
  optionalDependencies,
});

const hashOf = (content: string): string => `sha512-${createHash('sha512').update(content).digest('base64')}`;

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

test('asks the registry for every missing hash, and keeps the others', async () => {
  const here = { version: '1.0.0', integrity: 'sha512-kept', optional: true, os: ['linux'] };
  await lockWith({
    '': { version: '1.0.0' },
    'node_modules/tool': tool({ '@tool/cli-darwin-arm64': '1.0.0', '@tool/cli-linux-x64': '1.0.0' }),
    'node_modules/@tool/cli-linux-x64': here,
    'node_modules/native': { name: '@other/tool', version: '7.0.2', dev: true },
    'node_modules/native/node_modules/inner': { version: '2.0.0' },
  });
  await registryHas({
    '@tool/cli-darwin-arm64@1.0.0': hashOf('darwin'),
    '@other/tool@7.0.2': hashOf('other'),
    'inner@2.0.0': hashOf('inner'),
    '@tool/cli-linux-x64@1.0.0': hashOf('not asked for'),
  });
  expect(await complete()).toMatchObject({ code: 0, stderr: '' });
  expect(await lockedPackages()).toMatchObject({
    'node_modules/@tool/cli-linux-x64': here,
    'node_modules/@tool/cli-darwin-arm64': { version: '1.0.0', integrity: hashOf('darwin'), os: ['darwin'] },
    'node_modules/native': { name: '@other/tool', version: '7.0.2', integrity: hashOf('other'), dev: true },
    'node_modules/native/node_modules/inner': { version: '2.0.0', integrity: hashOf('inner') },
  });
  expect((await questions()).trim().split('\n')).toHaveLength(3);
});

test('puts in nothing but a SHA-512 hash', async () => {
  const packages = { 'node_modules/weak': { version: '1.0.0' }, 'node_modules/absent': { version: '1.0.0' } };
  await lockWith(packages);
  await registryHas({ 'weak@1.0.0': 'sha1-2jmj7l5rSw0yVb/vlWAYkK/YBwk=' });
  expect(await complete()).toMatchObject({ code: 0, stderr: '' });
  expect(await lockedPackages()).toEqual(packages);
});

test('goes on without hashes where the registry gives no answer', async () => {
  const packages = Object.fromEntries(
    Array.from({ length: 20 }, (_, number) => [`node_modules/p${number}`, { version: '1.0.0' }]),
  );
  await lockWith(packages);
  await registryHas('down');
  expect(await complete()).toEqual({
    code: 0,
    stderr: 'package-lock.json: the registry gave no hash: connection refused\n',
  });
  expect(await lockedPackages()).toEqual(packages);
  expect((await questions()).trim().split('\n').length).toBeLessThanOrEqual(4);
});

test('asks nothing after npm ci, and leaves the lockfile it installed from', async () => {
  const packages = { 'node_modules/tool': { version: '1.0.0' } };
  await lockWith(packages);
  await registryHas({ 'tool@1.0.0': hashOf('tool') });
  expect(await run('ci')).toMatchObject({ code: 0, stderr: '' });
  expect(await lockedPackages()).toEqual(packages);
  expect(await questions()).toBe('');
});

test('leaves a package that ships inside its parent alone', async () => {
  const packages = {
    'node_modules/tool': tool({ '@tool/cli-linux-x64': '1.0.0' }),
    'node_modules/tool/node_modules/@tool/cli-linux-x64': { version: '1.0.0', optional: true, inBundle: true },
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

test('the check refuses a package without a hash, unless it is one of another platform', async () => {
  const platform = { version: '1.0.0', optional: true, os: ['darwin'], cpu: ['arm64'] };
  const optional = { version: '1.0.0', optional: true };
  await lockWith({ '': {}, 'node_modules/@tool/cli-darwin-arm64': platform, 'node_modules/optional': optional });
  expect(await complete('--check')).toEqual({
    code: 1,
    stderr: 'package-lock.json has no hash for node_modules/optional\n',
  });
  expect(await questions()).toBe('');
});
