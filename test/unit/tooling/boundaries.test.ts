import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { checkBoundaries } from '../../../.ci/boundaries.ts';
import { importRules } from '../../../.ci/import-rules.ts';

const lawful: Readonly<Record<string, string>> = {
  'crdt/ids.ts': 'export const id = 1;',
  'crdt/digest.ts': "import { createRequire } from 'node:module'; import 'blake3-wasm'; export { createRequire };",
  'crdt/signature.ts': "export { sign } from 'node:crypto';",
  'crdt/object-document.ts': "export { load } from '@automerge/automerge';",
  'src/ports/kv.ts': "import type { id } from '../../crdt/ids.ts'; export type Id = typeof id;",
  'protocols/wire/channel.ts': "import type { Id } from '../../src/ports/kv.ts'; export const wire = 1 as Id;",
  'protocols/blobs/pull.ts': "export { wire } from '../wire/channel.ts';",
  'src/node/api.ts': "import { z } from 'zod'; export { wire } from '../../protocols/wire/channel.ts'; export { z };",
  'src/node/node.ts': "export { z } from './api.ts';",
  'src/adapters/lmdb/kv.ts': "export { open } from 'lmdb'; export type { Id } from '../../ports/kv.ts';",
  'src/adapters/libp2p/network.ts': "export { createLibp2p } from 'libp2p';",
  'src/http/server.ts': "export type { wire } from '../node/api.ts';",
  'src/compose.ts': "export { open } from './adapters/lmdb/kv.ts';",
  'test/support/open.ts': "export { open } from '../../src/adapters/lmdb/kv.ts';",
};

/** One forbidden import for each rule: rule, file, code. */
const planted: readonly (readonly [rule: string, file: string, code: string])[] = [
  ['crdt-stands-alone', 'crdt/planted-type.ts', "export type { Id } from '../src/ports/kv.ts';"],
  ['crdt-stands-alone', 'crdt/planted-lazy.ts', "export const lazy = () => import('../protocols/wire/channel.ts');"],
  ['crdt-stands-alone', 'crdt/planted-inline.ts', "export type Id = import('../src/ports/kv.ts').Id;"],
  ['ports-import-only-types-of-crdt', 'src/ports/planted-a.ts', "export { id } from '../../crdt/ids.ts';"],
  ['ports-stand-below', 'src/ports/planted-b.ts', "export type { wire } from '../node/api.ts';"],
  ['protocols-stand-on-ports', 'protocols/wire/planted.ts', "export type { wire } from '../../src/node/api.ts';"],
  ['protocols-keep-apart', 'protocols/sync/planted.ts', "export { wire } from '../blobs/pull.ts';"],
  ['node-stands-on-ports', 'src/node/planted-a.ts', "export { open } from '../compose.ts';"],
  ['adapters-implement-ports', 'src/adapters/lmdb/planted-a.ts', "export type { wire } from '../../node/api.ts';"],
  ['adapters-keep-apart', 'src/adapters/lmdb/planted-b.ts', "export { createLibp2p } from '../libp2p/network.ts';"],
  ['only-compose-wires-adapters', 'src/http/planted-a.ts', "export { open } from '../adapters/lmdb/kv.ts';"],
  ['interfaces-use-the-public-face', 'src/http/planted-b.ts', "export { z } from '../node/node.ts';"],
  ['production-imports-no-test-code', 'src/planted.ts', "export { open } from '../test/support/open.ts';"],
  ['pure-zones-touch-no-system', 'crdt/planted-fs.ts', "export { readFileSync } from 'node:fs';"],
  ['pure-zones-touch-no-system', 'protocols/wire/planted-net.ts', "export { connect } from 'node:net';"],
  ['pure-zones-touch-no-system', 'src/node/planted-timer.ts', "export { setTimeout } from 'node:timers/promises';"],
  ['pure-zones-touch-no-system', 'crdt/planted-crypto.ts', "export { createHash } from 'node:crypto';"],
  ['pure-zones-use-pure-libraries', 'src/node/planted-pino.ts', "export { pino } from 'pino';"],
  ['only-digest-hashes', 'crdt/planted-hash.ts', "export { hash } from 'blake3-wasm';"],
  ['digest-is-only-a-digest', 'crdt/digest.ts', "export { request } from 'node:http';"],
  ['signature-is-only-a-signature', 'crdt/signature.ts', "export { readFileSync } from 'node:fs';"],
  ['only-documents-use-automerge', 'src/compose-planted.ts', "export { load } from '@automerge/automerge';"],
  ['document-files-use-automerge-only', 'crdt/object-document.ts', "export { pino } from 'pino';"],
  ['only-its-adapter-uses-lmdb', 'src/http/planted-lmdb.ts', "export { open } from 'lmdb';"],
  ['only-its-adapter-uses-libp2p', 'src/http/planted-libp2p.ts', "export { createLibp2p } from 'libp2p';"],
  ['resolvable', 'src/http/planted-nowhere.ts', "export { nothing } from './nowhere.ts';"],
  ['no-cycles', 'src/planted-one.ts', "import './planted-two.ts'; export const one = 1;"],
  ['no-development-packages-in-production', 'src/http/planted-dev.ts', "export { test } from 'vitest';"],
];

let root: string;

const write = async (files: Readonly<Record<string, string>>): Promise<void> => {
  for (const [file, code] of Object.entries(files)) {
    await mkdir(path.join(root, path.dirname(file)), { recursive: true });
    await writeFile(path.join(root, file), code);
  }
};

beforeEach(async () => {
  root = await mkdtemp(path.join(tmpdir(), 'anabranch-boundaries-'));
  const project = path.resolve(import.meta.dirname, '../../..');
  for (const name of ['node_modules', 'package.json']) await symlink(path.join(project, name), path.join(root, name));
});

afterEach(async () => {
  await rm(root, { recursive: true, force: true });
});

test('a project that keeps the directions of imports has no problem', async () => {
  await write(lawful);
  expect(await checkBoundaries(root)).toEqual({ problems: [], modules: Object.keys(lawful).length, imports: 16 });
});

test('every rule catches the import that was planted against it', async () => {
  await write(lawful);
  await write({ 'src/planted-two.ts': "import './planted-one.ts'; export const two = 2;" });
  await write(Object.fromEntries(planted.map(([, file, code]) => [file, code])));
  const { problems } = await checkBoundaries(root);
  const caught = planted.map(([rule, file]) => ({
    rule,
    file,
    caught: problems.some((problem) => problem.startsWith(`${rule}: ${file} imports `)),
  }));
  expect(caught.filter((plant) => !plant.caught)).toEqual([]);
  expect([...new Set(planted.map(([rule]) => rule))].sort()).toEqual(importRules.map(({ name }) => name).sort());
});

test('a check that inspected nothing fails', async () => {
  const { problems } = await checkBoundaries(root);
  expect(problems).toContain('not-inspected: there is not one TypeScript file here');
});

test('a check that understood no import fails', async () => {
  await write({ 'crdt/ids.ts': 'export const id = 1;' });
  const { problems } = await checkBoundaries(root);
  expect(problems).toEqual(['not-inspected: not one import was found, so the files were not understood']);
});
