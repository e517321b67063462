import { Command } from 'commander';
import { describeVersion } from '../client/draw-graph.ts';
import type { Cli } from './cli.ts';
import { type ConnectionOptions, withConnection } from './connection.ts';
import { nodeNames } from './log.ts';
import { parseObject } from './object-argument.ts';
import { printable } from './output.ts';

interface HeadsFlags extends ConnectionOptions {
  readonly json?: boolean;
}

export function headsCommand(cli: Cli): Command {
  const command = new Command('heads')
    .description('show the versions that no other version supersedes; two or more are a conflict')
    .argument('<object>', 'NAMESPACE/KEY');
  return withConnection(command).action(async (objectText: string, flags: HeadsFlags) => {
    const { ns, key } = parseObject(objectText);
    await cli.withClient(flags, async (client) => {
      const graph = await client.graph(ns, key);
      const heads = new Set(graph.heads);
      const versions = graph.versions.filter(({ version }) => heads.has(version));
      if (flags.json === true) return cli.output.json({ ...graph, versions });
      const names = await nodeNames(client);
      for (const version of versions) {
        const mark = version.version === graph.preferred && versions.length > 1 ? '  ← preferred' : '';
        await cli.output.print(`${version.version}${mark}`);
        await cli.output.print(`  ${printable(describeVersion(version, names))}`);
      }
    });
  });
}
