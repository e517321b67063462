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
      await cli.withClient(flags, async (client) => {
        const options = await writeOptionsOf(client, object, flags, signal);
        const written = await client.delete(object.ns, object.key, options);
        await tellWritten(cli, client, written, { what: 'deleted', json: flags.json });
      });
    },
  );
}
