const colours: Readonly<Record<string, string>> = {
  debug: '\u001b[90m',
  info: '\u001b[32m',
  warn: '\u001b[33m',
  error: '\u001b[31m',
};
const dim = '\u001b[90m';
const plain = '\u001b[0m';

/** One JSON log line as text for a person: time, level, event, then `name=value` for every field. */
export function prettyLine(json: string, colour: boolean): string {
  const { level, time, event, ...fields } = JSON.parse(json) as Record<string, unknown>;
  const label = String(level);
  const clock = String(time).slice('2026-01-01T'.length, -1);
  const pairs = Object.entries(fields).map(([name, value]) => `${shown(name)}=${shownField(name, value)}`);
  const [before, between, after] = colour ? [dim, colours[label] ?? plain, plain] : ['', '', ''];
  return `${[`${before}${clock}${after}`, `${between}${label.padEnd(5)}${after}`, shown(String(event)), ...pairs].join(' ')}\n`;
}

function shownField(name: string, value: unknown): string {
  if (typeof value === 'string') return shown(value);
  if (name === 'error' && isError(value)) return shown(errorSentence(value));
  return shown(JSON.stringify(value));
}

/** Quoted unless it is plain: what a peer sent may hold spaces, line ends or a terminal's escape sequences. */
function shown(text: string): string {
  if (/^[\w.:/@,+[\]{}()#-]+$/.test(text)) return text;
  return JSON.stringify(text).replaceAll(/[\u007f-\u009f\u2028\u2029]/g, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
}

interface ErrorFields {
  readonly name: string;
  readonly code?: string;
  readonly message: string;
  readonly cause?: unknown;
}

function isError(value: unknown): value is ErrorFields {
  return typeof value === 'object' && value !== null && 'message' in value && 'name' in value;
}

function errorSentence(error: ErrorFields): string {
  const own = `${error.code ?? error.name}: ${error.message}`;
  return isError(error.cause) ? `${own} (caused by ${errorSentence(error.cause)})` : own;
}
