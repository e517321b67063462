import type { Log, LogFields } from '../../ports/log.ts';

/** Older lines give way, so a long simulation does not keep its whole history. */
const linesMaxDefault = 10_000;

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

export interface LogLine {
  readonly level: LogLevel;
  readonly event: string;
  readonly fields: LogFields;
}

/** Keeps the latest lines for a test to look at; children write to their parent's lines. */
export class MemoryLog implements Log {
  readonly #lines: LogLine[];
  readonly #linesMax: number;
  readonly #fields: LogFields;

  constructor(options: { readonly linesMax?: number } = {}, parent?: { lines: LogLine[]; fields: LogFields }) {
    this.#linesMax = options.linesMax ?? linesMaxDefault;
    this.#lines = parent?.lines ?? [];
    this.#fields = parent?.fields ?? {};
  }

  get lines(): readonly LogLine[] {
    return this.#lines;
  }

  /** The kept lines of one event, oldest first. */
  linesOf(event: string): readonly LogLine[] {
    return this.#lines.filter((line) => line.event === event);
  }

  debug(event: string, fields?: LogFields): void {
    this.#write('debug', event, fields);
  }

  info(event: string, fields?: LogFields): void {
    this.#write('info', event, fields);
  }

  warn(event: string, fields?: LogFields): void {
    this.#write('warn', event, fields);
  }

  error(event: string, fields?: LogFields): void {
    this.#write('error', event, fields);
  }

  child(fields: LogFields): MemoryLog {
    return new MemoryLog({ linesMax: this.#linesMax }, { lines: this.#lines, fields: { ...this.#fields, ...fields } });
  }

  #write(level: LogLevel, event: string, fields: LogFields = {}): void {
    this.#lines.push({ level, event, fields: { ...this.#fields, ...fields } });
    if (this.#lines.length > this.#linesMax) this.#lines.splice(0, this.#lines.length - this.#linesMax);
  }
}
