import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { Command } from 'commander';
import type { UploadBody } from '../client/transport.ts';
import type { Cli } from './cli.ts';
import { type ConnectionOptions, withConnection } from './connection.ts';
import { CommandFailure, UsageError } from './errors.ts';
import { parseObject } from './object-argument.ts';
import { progressBar } from './progress.ts';
import { tellWritten, type WriteFlags, withWriteFlags, writeOptionsOf } from './write-options.ts';

/** Files are read in pieces as large as a socket takes well. */
const readBytes = 256 * 1024;

interface PutFlags extends ConnectionOptions, WriteFlags {
  readonly type?: string;
  readonly meta?: readonly string[];
}

export function putCommand(cli: Cli): Command {
  const command = new Command('put')
    .description('write a file, or standard input, as a new version of an object')
    .argument('<object>', 'NAMESPACE/KEY')
    .argument('<file>', 'the file, or - for standard input')
    .option('--type <type>', 'the content type, as in text/plain')
    .option('--meta <name=value...>', 'metadata to keep with the version');
  return withConnection(withWriteFlags(command)).action((object: string, file: string, flags: PutFlags) =>
    put(cli, object, file, flags),
  );
}

async function put(cli: Cli, objectText: string, file: string, flags: PutFlags): Promise<void> {
  const object = parseObject(objectText);
  const meta = parseMeta(flags.meta ?? []);
  const source = await openSource(cli, file);
  const signal = cli.interrupts();
  try {
    await cli.withClient(flags, async (client) => {
      const options = await writeOptionsOf(client, object, flags, signal);
      const { type, json } = flags;
      const { size } = source;
      const bar = progressBar(cli.io, objectText, size);
      const onProgress = (bytes: number): void => bar.update(bytes);
      const written = await client
        .put(object.ns, object.key, source.body, { ...options, type, meta, size, onProgress })
        .finally(() => bar.end());
      await tellWritten(cli, client, written, { what: 'stored', json });
    });
  } finally {
    source.close();
  }
}

interface Source {
  readonly body: UploadBody;
  /** Undefined for a stream. */
  readonly size: number | undefined;
  readonly close: () => void;
}

async function openSource(cli: Cli, file: string): Promise<Source> {
  if (file === '-') return { body: cli.io.stdin, size: undefined, close: () => void cli.io.stdin.destroy() };
  const path = resolve(cli.io.cwd, file);
  const stats = await stat(path);
  if (stats.isDirectory()) throw new CommandFailure(`${file} is a directory; put takes one file`);
  const stream = createReadStream(path, { highWaterMark: readBytes });
  // A file that cannot be read fails the upload; before that there may be nobody to hear of it.
  stream.on('error', () => undefined);
  return { body: stream, size: stats.isFile() ? stats.size : undefined, close: () => void stream.destroy() };
}

function parseMeta(pairs: readonly string[]): Record<string, string> {
  const entries = pairs.map((pair) => {
    const equals = pair.indexOf('=');
    if (equals < 1) throw new UsageError(`"${pair}" is not metadata; write --meta NAME=VALUE`);
    return [pair.slice(0, equals), pair.slice(equals + 1)] as const;
  });
  return Object.fromEntries(entries);
}
