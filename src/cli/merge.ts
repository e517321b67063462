import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { Command } from 'commander';
import type { AnabranchClient } from '../client/http-client.ts';
import type { CommitMode, WrittenVersion } from '../node/api.ts';
import type { Cli } from './cli.ts';
import { type ConnectionOptions, withConnection } from './connection.ts';
import { CommandFailure, UsageError } from './errors.ts';
import { type ObjectName, parseObject, splitIds, wholeVersionIds } from './object-argument.ts';
import { tellWritten, type WriteFlags, withWriteFlags } from './write-options.ts';

/** As many parents as one version may name; more heads than that are merged in stages. */
const parentsMax = 256;

interface MergeFlags extends ConnectionOptions, WriteFlags {
  readonly pick?: string;
  readonly file?: string;
}

export function mergeCommand(cli: Cli): Command {
  const command = new Command('merge')
    .description("join an object's heads into one version")
    .argument('<object>', 'NAMESPACE/KEY')
    .option('--pick <id>', 'keep the content of this version; the beginning of its id does')
    .option('--file <file>', 'use this file as the merged content');
  return withConnection(withWriteFlags(command)).action((object: string, flags: MergeFlags) =>
    merge(cli, object, flags),
  );
}

async function merge(cli: Cli, objectText: string, flags: MergeFlags): Promise<void> {
  const object = parseObject(objectText);
  if ((flags.pick === undefined) === (flags.file === undefined)) {
    throw new UsageError('say what the merged content is: either --pick ID (one side) or --file FILE');
  }
  const signal = cli.interrupts();
  await cli.withClient(flags, async (client) => {
    const parents = await parentsOf(client, object, flags, signal);
    const [pick] = flags.pick === undefined ? [] : await wholeVersionIds(client, object, [flags.pick], signal);
    const path = flags.file === undefined ? undefined : resolve(cli.io.cwd, flags.file);
    const written = await mergeInStages(client, object, parents, { pick, path, commit: flags.commit, signal });
    await tellWritten(cli, client, written, { what: 'merged', json: flags.json });
  });
}

/** The versions that were named, or all heads. */
async function parentsOf(
  client: AnabranchClient,
  object: ObjectName,
  { parents }: MergeFlags,
  signal: AbortSignal,
): Promise<readonly string[]> {
  if (parents !== undefined) return wholeVersionIds(client, object, splitIds(parents), signal);
  const { heads } = await client.graph(object.ns, object.key, signal);
  if (heads.length > 1) return heads;
  throw new CommandFailure(`${object.ns}/${object.key} has one head only, so there is nothing to merge`);
}

interface MergedContent {
  readonly pick: string | undefined;
  readonly path: string | undefined;
  readonly commit: CommitMode | undefined;
  readonly signal: AbortSignal;
}

/** Each stage joins as many heads as a version may name, the former stage's result being one of them. */
async function mergeInStages(
  client: AnabranchClient,
  { ns, key }: ObjectName,
  parents: readonly string[],
  { pick, path, commit, signal }: MergedContent,
): Promise<WrittenVersion> {
  const options = { commit, signal };
  // The picked version has to be among the parents of the stage that adopts its content.
  const ordered = pick === undefined ? parents : parents.toSorted((a, b) => Number(b === pick) - Number(a === pick));
  const stage = ordered.slice(0, parentsMax);
  let written: WrittenVersion;
  if (path === undefined) {
    written = await client.merge(ns, key, { parents: stage, pick: pick ?? '' }, options);
  } else {
    const { size } = await stat(path);
    written = await client.put(ns, key, createReadStream(path), { ...options, parents: stage, size });
  }
  for (let next = parentsMax; next < ordered.length; next += parentsMax - 1) {
    const rest = ordered.slice(next, next + parentsMax - 1);
    const { version } = written;
    written = await client.merge(ns, key, { parents: [version, ...rest], pick: version }, options);
  }
  return written;
}
