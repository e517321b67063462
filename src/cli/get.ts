import { randomBytes } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { Command, Option } from 'commander';
import { formatBytes } from '../client/draw-graph.ts';
import type { GetOptions } from '../client/http-client.ts';
import type { ReadObject } from '../client/object-read.ts';
import type { ReadMode } from '../node/api.ts';
import type { Cli } from './cli.ts';
import { type ConnectionOptions, withConnection } from './connection.ts';
import { CommandFailure, UsageError } from './errors.ts';
import { type ObjectName, parseObject, wholeVersionIds } from './object-argument.ts';
import { printable } from './output.ts';
import { progressBar } from './progress.ts';

interface GetFlags extends ConnectionOptions {
  readonly output: string;
  readonly mode?: ReadMode;
  readonly version?: string;
  readonly json?: boolean;
}

export function getCommand(cli: Cli): Command {
  const command = new Command('get')
    .description('read an object; its content is checked against its BLAKE3 hash on the way')
    .argument('<object>', 'NAMESPACE/KEY')
    .option('-o, --output <file>', 'where to write it, - for standard output', '-')
    .option('--version <id>', 'exactly this version; the beginning of an id does')
    .addOption(
      new Option('--mode <mode>', 'which head to read; by default as the namespace has it')
        .choices(['preferred', 'confirmed_only', 'provisional_allowed'])
        .conflicts('version'),
    );
  return withConnection(command).action((object: string, flags: GetFlags) => get(cli, object, flags));
}

async function get(cli: Cli, objectText: string, flags: GetFlags): Promise<void> {
  const object = parseObject(objectText);
  const toStdout = flags.output === '-';
  if (toStdout && flags.json === true) {
    throw new UsageError('--json describes what was read, so the content needs a file of its own: add -o FILE');
  }
  const signal = cli.interrupts();
  await cli.withClient(flags, async (client) => {
    const [version] = await wholeVersionIds(client, object, flags.version === undefined ? [] : [flags.version], signal);
    const options: GetOptions = { mode: flags.mode, version, signal };
    const read = await client.get(object.ns, object.key, options);
    const content = withProgress(cli, objectText, read);
    if (toStdout) await pipeline(content, cli.io.stdout, { end: false });
    else await writeWhole(content, resolve(cli.io.cwd, flags.output), flags.output);
    await tellRead(cli, object, read, flags);
  });
}

async function* withProgress(cli: Cli, label: string, read: ReadObject): AsyncGenerator<Uint8Array, void, void> {
  const bar = progressBar(cli.io, label, read.size);
  let bytes = 0;
  try {
    for await (const piece of read.body) {
      yield piece;
      bytes += piece.length;
      bar.update(bytes);
    }
  } finally {
    bar.end();
  }
}

/** A file is there in full, or as it was before; a device or a pipe is written to as it comes. */
async function writeWhole(content: AsyncIterable<Uint8Array>, path: string, given: string): Promise<void> {
  const there = await stat(path).catch(() => undefined);
  if (there?.isDirectory() === true) throw new CommandFailure(`${given} is a directory; name a file in it`);
  if (there !== undefined && !there.isFile()) {
    await pipeline(content, createWriteStream(path));
    return;
  }
  const draft = join(dirname(path), `.${basename(path).slice(0, 100)}.${randomBytes(6).toString('hex')}.part`);
  try {
    await pipeline(content, createWriteStream(draft, { flags: 'wx' }));
    await rename(draft, path);
  } catch (error) {
    await rm(draft, { force: true }).catch(() => undefined);
    // Nobody named the draft.
    if ((error as NodeJS.ErrnoException).path === draft) (error as NodeJS.ErrnoException).path = given;
    throw error;
  }
}

async function tellRead(cli: Cli, { ns, key }: ObjectName, read: ReadObject, flags: GetFlags): Promise<void> {
  const { version, state, heads, newer, size, b3, type, meta } = read;
  const name = printable(`${ns}/${key}`);
  if (flags.json === true) {
    await cli.output.json({ ns, key, version, state, heads, newer, size, b3, type, meta });
  } else if (flags.output !== '-') {
    await cli.output.print(`wrote ${formatBytes(size)} to ${flags.output}, version ${version}`);
  }
  if (heads > 1) cli.output.note(`${name} has ${heads} heads; see the others with: heads ${name}`);
}
