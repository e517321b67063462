import { Command } from 'commander';
import type { Cli } from './cli.ts';
import { type ConnectionOptions, withConnection } from './connection.ts';
import { parseObject, wholeVersionIds } from './object-argument.ts';
import { replicaLines } from './replica-text.ts';
import { wholeNumber } from './whole-number.ts';

interface ReplicasFlags extends ConnectionOptions {
  readonly version?: string;
  readonly after?: string;
  readonly limit?: number;
  readonly json?: boolean;
}

const versionsMax = 64;

export function replicasCommand(cli: Cli): Command {
  const command = new Command('replicas')
    .description('show which nodes hold the content of an object, version by version, and which of them have proved it')
    .argument('<object>', 'NAMESPACE/KEY')
    .option('--version <id>', 'only this version; the beginning of an id does')
    .option('--after <id>', 'go on after this version')
    .option('--limit <count>', 'the newest so many', wholeNumber('--limit', 1, versionsMax));
  return withConnection(command).action(async (objectText: string, flags: ReplicasFlags) => {
    const { ns, key } = parseObject(objectText);
    await cli.withClient(flags, async (client) => {
      const [version] = flags.version === undefined ? [] : await wholeVersionIds(client, { ns, key }, [flags.version]);
      const { after, limit } = flags;
      const page = await client.replication.replicas(ns, key, { version, after, limit });
      if (flags.json === true) return cli.output.json(page);
      for (const line of replicaLines(page, Date.now())) await cli.output.print(line);
      if (page.next !== null) await cli.output.print(`… and older ones: --after ${page.next}`);
    });
  });
}
