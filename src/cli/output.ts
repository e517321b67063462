import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { styleText } from 'node:util';
import { Interrupted } from './errors.ts';

/** What a command knows of the process it runs in; tests hand in their own. */
export interface CliIo {
  readonly stdin: Readable;
  readonly stdout: Writable & { readonly isTTY?: boolean };
  readonly stderr: Writable & { readonly isTTY?: boolean };
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  /** Aborts with `Interrupted` when one of these signals arrives; from this call on they no longer end the process by themselves. */
  interrupts(signals: readonly NodeJS.Signals[]): AbortSignal;
}

/** A terminal sends Ctrl-C to every process of its group and npm passes it on: both arrive, and count as one. */
const secondSignalMs = 1_500;

/** The real process. A second signal, given a moment later, ends it at once. */
export function processIo(): CliIo {
  return {
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    env: process.env,
    cwd: process.cwd(),
    interrupts(signals) {
      const controller = new AbortController();
      let firstMs: number | undefined;
      for (const signal of signals) {
        process.on(signal, () => {
          firstMs ??= performance.now();
          if (performance.now() - firstMs > secondSignalMs) process.exit(1);
          controller.abort(new Interrupted(signal));
        });
      }
      return controller.signal;
    },
  };
}

export type TextStyle = 'bold' | 'green' | 'red' | 'yellow';

/** Writes what a command has to say: results to standard output, all else to standard error. */
export class Output {
  readonly #io: CliIo;

  constructor(io: CliIo) {
    this.#io = io;
  }

  /** Writes and waits until there is room for more. */
  async print(text: string): Promise<void> {
    if (!this.#io.stdout.write(`${text}\n`)) await once(this.#io.stdout, 'drain');
  }

  json(body: unknown): Promise<void> {
    return this.print(JSON.stringify(body));
  }

  /** Something good to know for a person at a terminal, and noise to a script. */
  note(text: string): void {
    if (this.#io.stderr.isTTY === true) this.#io.stderr.write(`${text}\n`);
  }

  /** What a script's log is to have as well, and what is no result: that there is nothing to print, or what was written where. */
  aside(text: string): void {
    this.#io.stderr.write(`${text}\n`);
  }

  error(text: string): void {
    this.#io.stderr.write(`anabranch: ${text}\n`);
  }

  /** Colour only on a terminal, and never against NO_COLOR. */
  style(name: TextStyle, text: string): string {
    if (this.#io.stdout.isTTY !== true || (this.#io.env.NO_COLOR ?? '') !== '') return text;
    return styleText(name, text, { validateStream: false });
  }
}

/** Columns as wide as their widest cell. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [column, cell] of row.entries()) widths[column] = Math.max(widths[column] ?? 0, cell.length);
  }
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}

/** Text from elsewhere (a key, a content type) cannot move the cursor or pass itself off as output of ours. */
export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for.
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
}
