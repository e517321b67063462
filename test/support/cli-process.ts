import { type ChildProcessByStdio, spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { CliResult } from './run-cli.ts';

const main = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));

/** `anabranch` as a process of its own. */
export class CliProcess {
  readonly child: ChildProcessByStdio<Writable, Readable, Readable>;
  /** Settles when the process has ended and all it wrote is here. */
  readonly result: Promise<CliResult>;
  #stdout = '';
  #stderr = '';

  /** `detached` makes it the first of a process group, as a shell at a terminal does. */
  constructor(args: readonly string[], settings: { readonly cwd?: string; readonly detached?: boolean } = {}) {
    // Nothing of the developer's own environment may say which node to talk to.
    const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('ANABRANCH_')));
    this.child = spawn(process.execPath, [main, ...args], { ...settings, env, stdio: ['pipe', 'pipe', 'pipe'] });
    this.child.stdout.setEncoding('utf8').on('data', (text) => {
      this.#stdout += text;
    });
    this.child.stderr.setEncoding('utf8').on('data', (text) => {
      this.#stderr += text;
    });
    this.result = new Promise((resolve) => {
      this.child.once('close', (exitCode) =>
        resolve({ exitCode: exitCode ?? -1, stdout: this.#stdout, stderr: this.#stderr }),
      );
    });
  }

  get pid(): number {
    return this.child.pid as number;
  }

  get stdout(): string {
    return this.#stdout;
  }

  /** Resolves once standard output has this; rejects with all there was when the process ends before. */
  async until(pattern: RegExp): Promise<void> {
    const ended = this.result.then(({ exitCode, stdout, stderr }) => {
      if (!pattern.test(stdout)) throw new Error(`ended with ${exitCode} before ${pattern}:\n${stdout}\n${stderr}`);
    });
    ended.catch(() => undefined);
    while (!pattern.test(this.#stdout)) {
      await Promise.race([new Promise((resolve) => this.child.stdout.once('data', resolve)), ended]);
    }
  }

  /** Sends a signal and waits for the end. */
  async end(signal: NodeJS.Signals): Promise<CliResult> {
    this.child.kill(signal);
    return this.result;
  }

  /** Does what Ctrl-C at a terminal does to a `detached` process: all of its group get the signal. Waits for the end. */
  async interrupt(): Promise<CliResult> {
    process.kill(-this.pid, 'SIGINT');
    return this.result;
  }
}

/** Runs one command to its end. */
export function cliProcess(args: readonly string[], settings?: { readonly cwd?: string }): Promise<CliResult> {
  const process = new CliProcess(args, settings);
  process.child.stdin.end();
  return process.result;
}
