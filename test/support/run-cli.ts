import { Readable, Writable } from 'node:stream';
import type { CliIo } from '../../src/cli/output.ts';
import { runCli } from '../../src/cli/program.ts';

export interface CliResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CliSettings {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly stdin?: string | Readable;
  /** Makes standard output and standard error a terminal. */
  readonly terminal?: boolean;
  readonly signal?: AbortSignal;
}

/** Runs one command line in this process, with streams and an environment of its own. */
export async function runInProcess(args: readonly string[], settings: CliSettings = {}): Promise<CliResult> {
  const stdout = collector(settings.terminal);
  const stderr = collector(settings.terminal);
  const stdin = settings.stdin ?? '';
  const io: CliIo = {
    stdin: typeof stdin === 'string' ? Readable.from([Buffer.from(stdin)]) : stdin,
    stdout: stdout.stream,
    stderr: stderr.stream,
    env: settings.env ?? {},
    cwd: settings.cwd ?? process.cwd(),
    interrupts: () => settings.signal ?? new AbortController().signal,
  };
  const exitCode = await runCli(args, io);
  return { exitCode, stdout: stdout.text(), stderr: stderr.text() };
}

function collector(isTTY = false): { stream: Writable & { isTTY: boolean }; text: () => string } {
  const pieces: Buffer[] = [];
  const stream = new Writable({
    write(piece: Buffer, _encoding, done) {
      pieces.push(piece);
      done();
    },
  });
  return { stream: Object.assign(stream, { isTTY }), text: () => Buffer.concat(pieces).toString() };
}
