import { Command } from 'commander';
import type { Cli } from './cli.ts';
import { type ConnectionOptions, withConnection } from './connection.ts';
import { parseObject, wholeVersionIds } from './object-argument.ts';
import { printable } from './output.ts';

interface ConfirmFlags extends ConnectionOptions {
  readonly version?: string;
  readonly json?: boolean;
}

export function confirmCommand(cli: Cli): Command {
  const command = new Command('confirm')
    .description('have a version confirmed by the coordinators now; it happens by itself a moment after a write')
    .argument('<object>', 'NAMESPACE/KEY')
    .option('--version <id>', 'this version, and not the newest one; the beginning of an id does');
  return withConnection(command).action(async (objectText: string, flags: ConfirmFlags) => {
    const object = parseObject(objectText);
    const signal = cli.interrupts();
    await cli.withClient(flags, async (client) => {
      const ids = flags.version === undefined ? [] : await wholeVersionIds(client, object, [flags.version], signal);
      const confirmed = await client.confirm(object.ns, object.key, { version: ids[0], signal });
      if (flags.json === true) return cli.output.json(confirmed);
      const { version, confirmedHead, position, certificate } = confirmed;
      const name = printable(`${confirmed.ns}/${confirmed.key}`);
      const through = confirmedHead === version ? '' : ` through its descendant ${confirmedHead}`;
      const { epoch } = certificate.statement;
      const signers = certificate.signatures.length;
      await cli.output.print(`${name}: version ${version} is confirmed${through}`);
      await cli.output.print(`position ${position}, signed by ${signers} of the coordinators of epoch ${epoch}`);
    });
  });
}
