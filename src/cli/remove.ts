import { Command } from 'commander';
import type { Cli } from './cli.ts';
import { type ConnectionOptions, withConnection } from './connection.ts';
import { parseObject } from './object-argument.ts';
import { tellWritten, type WriteFlags, withWriteFlags, writeOptionsOf } from './write-options.ts';

export function removeCommand(cli: Cli): Command {
  const command = new Command('rm')
    .description('delete an object; its versions stay readable by their ids')
    .argument('<object>', 'NAMESPACE/KEY');
  return withConnection(withWriteFlags(command)).action(
    async (objectText: string, flags: ConnectionOptions & WriteFlags) => {
      const object = parseObject(objectText);
      const signal = cli.interrupts();
      const written = await cli.withClient(flags, async (client) =>
        client.delete(object.ns, object.key, await writeOptionsOf(client, object, flags, signal)),
      );
      await tellWritten(cli, written, 'deleted', flags.json);
    },
  );
}
