import { createReadStream } from 'node:fs';
import { createBlake3, toHex } from '../../../crdt/digest.ts';
import { formatBytes } from '../../client/draw-graph.ts';
import { generateFile } from './generated-file.ts';
import type { ObjectName } from './mesh-view.ts';
import { listProjectFiles, type ProjectFile } from './project-files.ts';
import { listOf, type StepResult } from './stage.ts';
import { type Narrator, TourFault, type TourNode } from './tour-types.ts';
import { whenThere } from './until.ts';

const arriveMsMax = 60_000;
/** Enough to keep a node busy while another call waits for its flush. */
const filesAtOnce = 16;

export interface FilesStep {
  readonly narrator: Narrator;
  readonly ns: string;
  /** What the keys of this run begin with. */
  readonly prefix: string;
  readonly signal: AbortSignal;
}

/** Writes the project's own files on one node, reads each on another and compares the hashes. */
export async function storeProjectFiles(
  step: FilesStep,
  { root, writer, reader }: { readonly root: string; readonly writer: TourNode; readonly reader: TourNode },
): Promise<string> {
  const files = await listProjectFiles(root);
  if (files.length === 0) throw new TourFault(`There are no files in ${root} to show anything with.`);
  const progress = step.narrator.progress('files', files.length, 'files');
  const waiting = files.values();
  const failed = new AbortController();
  const own = { ...step, signal: AbortSignal.any([step.signal, failed.signal]) };
  let done = 0;
  const work = async (): Promise<void> => {
    for (const file of waiting) {
      await storeFile(own, file, writer, reader);
      done += 1;
      progress.update(done);
    }
  };
  try {
    await Promise.all(Array.from({ length: filesAtOnce }, work));
  } finally {
    failed.abort();
    progress.end();
  }
  const total = files.reduce((sum, { size }) => sum + size, 0);
  return `All ${files.length} files (${formatBytes(total)}) read on ${reader.name} have the hashes they had on disk.`;
}

async function storeFile(
  { ns, prefix, signal }: FilesStep,
  file: ProjectFile,
  writer: TourNode,
  reader: TourNode,
): Promise<void> {
  const key = `${prefix}files/${file.path}`;
  const onDisk = createBlake3();
  const written = await writer.client.put(ns, key, hashing(createReadStream(file.absolutePath), onDisk), { signal });
  const expected = toHex(onDisk.digest());
  const read = await whenThere(() => reader.client.get(ns, key, { version: written.version, signal }), {
    what: `${reader.name} to have ${file.path}`,
    withinMs: arriveMsMax,
    signal,
  });
  const actual = await hashOf(read.body, () => undefined);
  if (actual !== expected)
    throw new TourFault(`${file.path} has the hash ${actual} on ${reader.name}, not ${expected}.`);
}

/** Makes a large file as it uploads it to one node, and reads it back on every other. Resolves with its name. */
export async function storeGeneratedFile(
  step: FilesStep,
  {
    size,
    writer,
    readers,
  }: { readonly size: number; readonly writer: TourNode; readonly readers: readonly TourNode[] },
): Promise<StepResult<ObjectName>> {
  const { narrator, ns, prefix, signal } = step;
  const key = `${prefix}generated-file`;
  const made = createBlake3();
  const upload = narrator.progress(`to ${writer.name}`, size, 'bytes');
  const written = await writer.client
    .put(ns, key, hashing(generateFile(`the file of ${prefix}`, size), made), {
      size,
      signal,
      onProgress: (bytes) => upload.update(bytes),
    })
    .finally(() => upload.end());
  const expected = toHex(made.digest());
  if (written.b3 !== expected) throw new TourFault(`${writer.name} stored the hash ${written.b3}, not ${expected}.`);
  const download = narrator.progress(`from ${listOf(readers)}`, size * readers.length, 'bytes');
  let readBytes = 0;
  try {
    await Promise.all(
      readers.map(async ({ name, client }) => {
        const read = await whenThere(() => client.get(ns, key, { version: written.version, signal }), {
          what: `${name} to have the generated file`,
          withinMs: arriveMsMax,
          signal,
        });
        const actual = await hashOf(read.body, (bytes) => {
          readBytes += bytes;
          download.update(readBytes);
        });
        if (actual !== expected) throw new TourFault(`${name} has the hash ${actual}, not ${expected}.`);
      }),
    );
  } finally {
    download.end();
  }
  const outcome = `${listOf(readers)} gave back the same ${formatBytes(size)}. BLAKE3: ${expected}`;
  return { outcome, value: { ns, key } };
}

async function* hashing(
  pieces: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  hash: { update(bytes: Uint8Array): void },
): AsyncGenerator<Uint8Array, void, void> {
  for await (const piece of pieces) {
    hash.update(piece);
    yield piece;
  }
}

async function hashOf(pieces: AsyncIterable<Uint8Array>, onPiece: (bytes: number) => void): Promise<string> {
  const hash = createBlake3();
  for await (const piece of pieces) {
    hash.update(piece);
    onPiece(piece.length);
  }
  return toHex(hash.digest());
}
