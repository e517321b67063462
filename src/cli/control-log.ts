import { createReadStream } from 'node:fs';
import { resolve } from 'node:path';
import { Command } from 'commander';
import { ControlLogVerifier, type LogFault, type VerifiedLog } from '../../crdt/control-verify.ts';
import { isHash } from '../../crdt/digest.ts';
import { genesisBytesMax } from '../../crdt/genesis.ts';
import { type ClusterId, err, type Result } from '../../crdt/ids.ts';
import type { Cli } from './cli.ts';
import { addReadingCommands } from './control-log-read.ts';
import { exitCodes, UsageError } from './errors.ts';
import { printable } from './output.ts';

const newline = 0x0a;

interface VerifyFlags {
  readonly cluster?: string;
  readonly json?: boolean;
}

export function controlLogCommand(cli: Cli): Command {
  const command = new Command('control-log').description('the record of everything administrators did');
  command
    .command('verify')
    .description('check an exported control log, offline: every entry, its place and its certificate')
    .argument('<file>', 'the exported log, or - for standard input')
    .option('--cluster <id>', 'the id of the cluster whose log it has to be')
    .option('--json', 'print the result as JSON')
    .action((file: string, flags: VerifyFlags) => verify(cli, file, flags));
  addReadingCommands(command, cli);
  return command;
}

async function verify(cli: Cli, file: string, flags: VerifyFlags): Promise<void> {
  const { cluster } = flags;
  if (cluster !== undefined && !isHash(cluster)) throw new UsageError('--cluster takes an id of 52 characters');
  const input = file === '-' ? cli.io.stdin : createReadStream(resolve(cli.io.cwd, file));
  const verified = await verifyStream(input, cluster as ClusterId | undefined);
  if (verified.ok) return tellVerified(cli, verified.value, flags.json);
  const { at, message } = verified.error;
  cli.exitCode = exitCodes.failed;
  if (flags.json === true) await cli.output.json({ holds: false, at, message });
  else await cli.output.print(printable(message));
}

async function tellVerified(cli: Cli, { state, checkpoint }: VerifiedLog, json?: boolean): Promise<void> {
  const { cluster, size, root } = checkpoint;
  if (json === true) return cli.output.json({ holds: true, cluster, size, root, epoch: state.epoch, last: state.hash });
  const entries = size === 1 ? 'the one entry' : `all ${size} entries`;
  await cli.output.print(`${entries} of cluster ${cluster} hold; Merkle root ${root}`);
}

/** Checks line by line as the bytes come, so that a log of any length takes the memory of its longest line. */
async function verifyStream(
  input: AsyncIterable<Uint8Array>,
  cluster: ClusterId | undefined,
): Promise<Result<VerifiedLog, LogFault>> {
  const verifier = new ControlLogVerifier(cluster);
  const pieces: Uint8Array[] = [];
  let length = 0;
  for await (const piece of input) {
    let start = 0;
    // Only this byte ends a line: a carriage return or a separator of Unicode is a change like any other.
    for (let end = piece.indexOf(newline); end !== -1; end = piece.indexOf(newline, start)) {
      const fault = verifier.push(Buffer.concat([...pieces.splice(0), piece.subarray(start, end)]));
      if (fault !== undefined) return err(fault);
      [start, length] = [end + 1, 0];
    }
    pieces.push(piece.subarray(start));
    length += piece.length - start;
    if (length > genesisBytesMax) return err(verifier.fault(`its line is longer than ${genesisBytesMax} bytes`));
  }
  const fault = length === 0 ? undefined : verifier.push(Buffer.concat(pieces));
  return fault === undefined ? verifier.end() : err(fault);
}
