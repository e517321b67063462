import type { AnabranchClient } from '../client/http-client.ts';
import { type CommandText, commandTextOf } from './command-text.ts';
import { type ConnectionOptions, connect } from './connection.ts';
import type { ExitCode } from './errors.ts';
import { exitCodes } from './errors.ts';
import { type CliIo, Output } from './output.ts';

/** What every command is handed: the process it runs in, its voice, and the way to a node. */
export class Cli {
  readonly io: CliIo;
  readonly output: Output;
  /** How commands are named in what is said. */
  readonly command: CommandText;
  /** The exit code of a command that ends without an error and has still not done what was asked. */
  exitCode: ExitCode = exitCodes.ok;

  constructor(io: CliIo) {
    this.io = io;
    this.output = new Output(io);
    this.command = commandTextOf(io.env);
  }

  /** Runs `use` with a client of the node that the options name, and lets go of its connections afterwards. */
  async withClient<T>(options: ConnectionOptions, use: (client: AnabranchClient) => Promise<T>): Promise<T> {
    const client = await connect(options, this.io, this.output);
    try {
      return await use(client);
    } finally {
      client.close();
    }
  }

  /** Aborts when the person at the keyboard, or the system, wants this process to end. */
  interrupts(): AbortSignal {
    return this.io.interrupts(['SIGINT', 'SIGTERM', 'SIGHUP']);
  }
}
