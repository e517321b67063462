import { Command } from 'commander';
import { projectVersion } from '../project-root.ts';
import { Cli } from './cli.ts';
import { configurationCommand } from './configuration.ts';
import { confirmCommand } from './confirm.ts';
import { conflictsCommand } from './conflicts.ts';
import { contentCommand } from './content.ts';
import { controlLogCommand } from './control-log.ts';
import { doctorCommand } from './doctor.ts';
import { drainCommand } from './drain.ts';
import { type ExitCode, failureOf, UsageError } from './errors.ts';
import { getCommand } from './get.ts';
import { headsCommand } from './heads.ts';
import { initCommand } from './init.ts';
import { listCommand } from './list.ts';
import { logCommand } from './log.ts';
import { mergeCommand } from './merge.ts';
import { namespacesCommand } from './namespaces.ts';
import { nodesCommand } from './nodes.ts';
import { type CliIo, printable } from './output.ts';
import { putCommand } from './put.ts';
import { removeCommand } from './remove.ts';
import { replicasCommand } from './replicas.ts';
import { replicationCommand } from './replication.ts';
import { serveCommand } from './serve.ts';
import { statusCommand } from './status.ts';
import { swarmCommand } from './swarm.ts';

const commands = [
  swarmCommand,
  initCommand,
  serveCommand,
  putCommand,
  getCommand,
  removeCommand,
  listCommand,
  logCommand,
  headsCommand,
  mergeCommand,
  confirmCommand,
  conflictsCommand,
  statusCommand,
  nodesCommand,
  replicasCommand,
  replicationCommand,
  drainCommand,
  contentCommand,
  doctorCommand,
  namespacesCommand,
  configurationCommand,
  controlLogCommand,
];

const exitCodesHelp = `
Exit codes: 0 done, 1 failed, 2 used wrongly, 3 no such object, version or member, 4 no node answers.
Without --url or --dir, commands talk to the swarm in ./.swarm, or else to http://127.0.0.1:7400.
Environment: ANABRANCH_DIR, ANABRANCH_URL and ANABRANCH_TOKEN stand for --dir, --url and --token; NO_COLOR=1 takes
the colours away; ANABRANCH_DEBUG=1 shows where in the program an error comes from.`;

/** Runs one command line and resolves with its exit code; says on standard error what went wrong. Never rejects. */
export async function runCli(args: readonly string[], io: CliIo): Promise<ExitCode> {
  const cli = new Cli(io);
  try {
    const program = programOf(cli);
    checkCommand(program, args);
    await program.parseAsync([...args], { from: 'user' });
    return cli.exitCode;
  } catch (error) {
    const { exitCode, message, problem } = failureOf(error);
    if (problem !== undefined && args.includes('--json')) await cli.output.json(problem);
    if (message !== undefined) cli.output.error(message);
    if (io.env.ANABRANCH_DEBUG && error instanceof Error) cli.output.error(error.stack ?? '');
    return exitCode;
  }
}

function programOf(cli: Cli): Command {
  const program = new Command('anabranch')
    .description('A peer-to-peer mesh that stores versioned objects and joins offline branches without losing one.')
    .version(projectVersion(), '-V, --version', 'print the version of this program')
    .helpOption('-h, --help', 'show how a command is used')
    .addHelpText('afterAll', exitCodesHelp)
    // Options of the program stand before the command, so that `get --version ID` is not one of them.
    .enablePositionalOptions()
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void cli.io.stdout.write(text),
      writeErr: (text) => void cli.io.stderr.write(text),
      outputError: (text, write) => write(text.replace(/^error: /, 'anabranch: ')),
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    });
  for (const command of commands) program.addCommand(inheriting(command(cli), program));
  return program;
}

/** Who asks for help on a command that there is not would be shown the help of another. */
function checkCommand(program: Command, args: readonly string[]): void {
  let group = program;
  for (const word of args) {
    if (group.commands.length === 0 || word.startsWith('-')) return;
    if (word === 'help') continue;
    const command = group.commands.find((each) => each.name() === word);
    if (command === undefined) {
      const path = group === program ? '' : `${group.name()} `;
      throw new UsageError(`unknown command '${printable(`${path}${word}`)}'; see them with: ${path}--help`);
    }
    group = command;
  }
}

/** Settings reach commands that were made on their own only when they are copied, down to the last one. */
function inheriting(command: Command, parent: Command): Command {
  command.copyInheritedSettings(parent).enablePositionalOptions(false);
  for (const child of command.commands) inheriting(child, command);
  return command;
}
