import { Command } from 'commander';
import { shortId } from '../client/draw-graph.ts';
import type { Conflict } from '../node/api.ts';
import type { Cli } from './cli.ts';
import { type ConnectionOptions, withConnection } from './connection.ts';
import { parseNamespace } from './object-argument.ts';
import { printable } from './output.ts';

interface ConflictsFlags extends ConnectionOptions {
  readonly ns?: string;
  readonly json?: boolean;
}

export function conflictsCommand(cli: Cli): Command {
  const command = new Command('conflicts')
    .description('list the objects that have two or more heads')
    .option('--ns <namespace>', 'only of this namespace', parseNamespace);
  return withConnection(command).action(async (flags: ConflictsFlags) => {
    await cli.withClient(flags, async (client) => {
      const conflicts: Conflict[] = [];
      let after: string | undefined;
      do {
        const page = await client.conflicts({ ns: flags.ns, after });
        conflicts.push(...page.conflicts);
        after = page.next ?? undefined;
      } while (after !== undefined);
      if (flags.json === true) return cli.output.json({ conflicts, next: null });
      if (conflicts.length === 0) return cli.output.print('no conflicts');
      for (const conflict of conflicts) await cli.output.print(lineOf(conflict));
    });
  });
}

function lineOf({ ns, key, heads, preferred }: Conflict): string {
  return `${printable(`${ns}/${key}`)}: ${heads.length} heads, ${shortId(preferred)} preferred`;
}
