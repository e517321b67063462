import { MemoryLog } from '../../src/adapters/memory/log.ts';
import type { Log, LogFields } from '../../src/ports/log.ts';
import type { Trace } from './trace.ts';

/** A node's log, which is part of the run's trace: what a node says of itself must be the same every time, too. */
export class SimLog implements Log {
  readonly lines: MemoryLog;
  readonly #trace: Trace;
  readonly #name: string;

  constructor(trace: Trace, name: string, lines = new MemoryLog({ linesMax: 2_000 })) {
    this.#trace = trace;
    this.#name = name;
    this.lines = lines;
  }

  debug(event: string, fields?: LogFields): void {
    this.#trace.mix(`${this.#name} ${event}`);
    this.lines.debug(event, fields);
  }

  info(event: string, fields?: LogFields): void {
    this.#trace.mix(`${this.#name} ${event}`);
    this.lines.info(event, fields);
  }

  warn(event: string, fields: LogFields = {}): void {
    this.#trace.note(`${this.#name} warns ${event} ${describe(fields)}`);
    this.lines.warn(event, fields);
  }

  error(event: string, fields: LogFields = {}): void {
    this.#trace.note(`${this.#name} errs ${event} ${describe(fields)}`);
    this.lines.error(event, fields);
  }

  child(fields: LogFields): Log {
    return new SimLog(this.#trace, this.#name, this.lines.child(fields));
  }
}

function describe(fields: LogFields): string {
  const { error } = fields;
  const reason = error instanceof Error ? error.message : fields.reason;
  return reason === undefined ? '' : `(${String(reason).slice(0, 120)})`;
}
