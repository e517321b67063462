/** Structured log lines: an event name and its fields. */
export interface Log {
  debug(event: string, fields?: LogFields): void;
  info(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  error(event: string, fields?: LogFields): void;
  /** A log that adds these fields to every line. */
  child(fields: LogFields): Log;
}

/** Values are made printable by the adapter; an `error` field keeps its code, message and cause. */
export type LogFields = Readonly<Record<string, unknown>>;
