import { type DestinationStream, type Logger, pino } from 'pino';
import type { Log, LogFields } from '../../ports/log.ts';
import { prettyLine } from './pretty-line.ts';
import { printable } from './printable.ts';

export interface PinoLogOptions {
  /** The least level that is written; `info` by default. */
  readonly level?: 'debug' | 'info' | 'warn' | 'error' | 'silent';
  /** JSON for machines, text for people; by default text when stderr is a terminal. */
  readonly format?: 'json' | 'text';
  /** Where whole lines go; stderr by default. */
  readonly destination?: DestinationStream;
}

const stderrDescriptor = 2;
/** Names of a line's own members, which a field may not take. */
const reserved: ReadonlySet<string> = new Set(['level', 'time', 'event']);

/** Lines through pino: JSON with `level`, `time` (ISO 8601), `event` and the fields, or one line of text. */
export class PinoLog implements Log {
  readonly #logger: Logger;

  constructor(options: PinoLogOptions = {}, logger?: Logger) {
    this.#logger = logger ?? createLogger(options);
  }

  debug(event: string, fields?: LogFields): void {
    if (this.#logger.isLevelEnabled('debug')) this.#logger.debug(printableFields(fields), event);
  }

  info(event: string, fields?: LogFields): void {
    if (this.#logger.isLevelEnabled('info')) this.#logger.info(printableFields(fields), event);
  }

  warn(event: string, fields?: LogFields): void {
    if (this.#logger.isLevelEnabled('warn')) this.#logger.warn(printableFields(fields), event);
  }

  error(event: string, fields?: LogFields): void {
    if (this.#logger.isLevelEnabled('error')) this.#logger.error(printableFields(fields), event);
  }

  child(fields: LogFields): PinoLog {
    return new PinoLog({}, this.#logger.child(printableFields(fields)));
  }
}

function createLogger(options: PinoLogOptions): Logger {
  // Written at once: the last lines before a crash are the ones that matter.
  const destination = options.destination ?? pino.destination({ fd: stderrDescriptor, sync: true });
  const terminal = options.destination === undefined && process.stderr.isTTY;
  const format = options.format ?? (terminal ? 'text' : 'json');
  const colour = terminal && !process.env.NO_COLOR;
  const text: DestinationStream = { write: (line) => destination.write(prettyLine(line, colour)) };
  return pino(
    {
      level: options.level ?? 'info',
      base: null,
      messageKey: 'event',
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    format === 'text' ? text : destination,
  );
}

function printableFields(fields: LogFields = {}): Record<string, unknown> {
  const plain: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(fields)) plain[reserved.has(name) ? `${name}_` : name] = printable(value);
  return plain;
}
