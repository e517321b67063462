import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';

const project = path.resolve(import.meta.dirname, '../..');
const compiler = path.join(project, 'node_modules/@typescript/native/bin/tsc');
/** What the build reads; a copy of it is built, so that nobody's `dist/` changes while the tests run. */
const sources = ['.ci', 'crdt', 'protocols', 'src', 'package.json', 'tsconfig.json', 'tsconfig.build.json'];
const documents = ['CHANGELOG.md', 'LICENSE', 'README.md'];

let root: string;
let unpacked: string;
let packedFiles: readonly string[];

const run = (file: string, fileArguments: readonly string[], cwd: string) =>
  promisify(execFile)(file, [...fileArguments], { cwd, timeout: 60_000 });

/** Packs the project as `npm publish` would and unpacks it as a dependency of an empty project. */
beforeAll(async () => {
  root = await mkdtemp(path.join(tmpdir(), 'anabranch-package-'));
  const copy = path.join(root, 'project');
  for (const name of [...sources, ...documents]) {
    await cp(path.join(project, name), path.join(copy, name), { recursive: true });
  }
  const modules = path.join(project, 'node_modules');
  await symlink(modules, path.join(copy, 'node_modules'));
  await run(process.execPath, ['.ci/build.ts'], copy);
  const { stdout } = await run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', root], copy);
  const [report] = JSON.parse(stdout) as [{ filename: string; files: { path: string }[] }];
  packedFiles = report.files.map((file) => file.path);

  unpacked = path.join(root, 'consumer/node_modules/anabranch');
  await mkdir(unpacked, { recursive: true });
  await run('tar', ['-xzf', path.join(root, report.filename), '--strip-components=1', '-C', unpacked], root);
  await symlink(modules, path.join(unpacked, 'node_modules'));
});

afterAll(async () => {
  await rm(root, { recursive: true, force: true });
});

test('the package holds the compiled program, its types and its papers, and nothing else', () => {
  for (const document of documents) expect(packedFiles).toContain(document);
  for (const file of ['dist/src/index.js', 'dist/src/index.d.ts', 'dist/src/cli/main.js']) {
    expect(packedFiles).toContain(file);
  }
  const allowed = /^(dist\/(src|crdt|protocols)\/.+\.(js|d\.ts|json)|package\.json|CHANGELOG\.md|LICENSE|README\.md)$/;
  expect(packedFiles.filter((file) => !allowed.test(file))).toEqual([]);
});

test('the program of the package starts by itself', async () => {
  const { version, bin } = JSON.parse(await readFile(path.join(unpacked, 'package.json'), 'utf8'));
  const { stdout } = await run(path.join(unpacked, bin.anabranch), ['--version'], root);
  expect(stdout.trim()).toBe(version);
});

test('a program can import the package', async () => {
  const consumer = path.join(root, 'consumer');
  const code = "import { openNode, MeshError } from 'anabranch'; console.log(typeof openNode, typeof MeshError);";
  const { stdout } = await run(process.execPath, ['--input-type=module', '--eval', code], consumer);
  expect(stdout.trim()).toBe('function function');
});

test('a strict TypeScript program can use the types of the package', async () => {
  const consumer = path.join(root, 'consumer');
  await writeFile(path.join(consumer, 'package.json'), '{"type":"module"}');
  await writeFile(
    path.join(consumer, 'use.ts'),
    `import { type MeshNode, type Outcome, openNode, type WrittenVersion } from 'anabranch';
     export const open: (...given: Parameters<typeof openNode>) => Promise<{ node: MeshNode }> = openNode;
     export const text = (outcome: Outcome<WrittenVersion>): string => outcome.ok ? outcome.value.version : outcome.error.code;
     // @ts-expect-error a directory is a path
     openNode(1);`,
  );
  const options = ['--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2024', '--types', 'node'];
  await symlink(path.join(project, 'node_modules/@types'), path.join(consumer, 'node_modules/@types'));
  const { stdout } = await run(process.execPath, [compiler, ...options, '--skipLibCheck', 'use.ts'], consumer);
  expect(stdout).toBe('');
});
