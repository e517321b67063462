import { execFile } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';

const project = path.resolve(import.meta.dirname, '../../..');
const impure: readonly string[] = [
  'export const planted = Date.now();',
  'export const planted = new Date();',
  'export const planted = performance.now();',
  'export const planted = Math.random();',
  "export const planted = Math['random'];",
  'export const { random: planted } = Math;',
  'setTimeout(() => {}, 1);',
  'setInterval(() => {}, 1);',
  'setImmediate(() => {});',
  'globalThis.setTimeout(() => {}, 1);',
  'export const planted = AbortSignal.timeout(1);',
  'export const planted = crypto.randomUUID();',
  "export const planted = fetch('http://127.0.0.1');",
  'export const planted = process.env;',
];
const pureZones = [
  'crdt',
  'protocols/wire',
  'src/ports',
  'src/node',
  'src/replication',
  'src/retention',
  'src/control',
];

let root: string;

beforeEach(async () => {
  root = await mkdtemp(path.join(tmpdir(), 'anabranch-pure-zones-'));
  await copyFile(path.join(project, 'biome.json'), path.join(root, 'biome.json'));
});

afterEach(async () => {
  await rm(root, { recursive: true, force: true });
});

const plant = async (file: string, code: string): Promise<void> => {
  await mkdir(path.join(root, path.dirname(file)), { recursive: true });
  await writeFile(path.join(root, file), `${code}\n`);
};

/** The planted files of which the lint finds an error. */
const filesWithErrors = (): Promise<ReadonlySet<string>> =>
  new Promise((resolve) => {
    const biome = path.join(project, 'node_modules/.bin/biome');
    const lint = ['lint', '--reporter=github', '--max-diagnostics=none', '.'];
    execFile(biome, lint, { cwd: root }, (_, stdout) => {
      const errors = [...stdout.matchAll(/^::error .*?file=([^,]+),/gm)];
      resolve(new Set(errors.map(([, file]) => path.relative(root, path.resolve(root, file ?? '')))));
    });
  });

test('the lint refuses every clock, timer, draw and global system access in a pure zone', async () => {
  for (const [index, code] of impure.entries()) await plant(`crdt/planted-${index}.ts`, code);
  const files = await filesWithErrors();
  expect(impure.filter((_, index) => !files.has(`crdt/planted-${index}.ts`))).toEqual([]);
});

test('the lint looks at every pure zone', async () => {
  for (const zone of pureZones) await plant(`${zone}/planted.ts`, 'export const planted = Date.now();');
  const files = await filesWithErrors();
  expect(pureZones.filter((zone) => !files.has(`${zone}/planted.ts`))).toEqual([]);
});

test('the lint lets adapters read the clock', async () => {
  await plant('src/adapters/system/clock.ts', 'export const now = Date.now();');
  expect(await filesWithErrors()).toEqual(new Set());
});
