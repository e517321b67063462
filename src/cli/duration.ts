import { InvalidArgumentError } from 'commander';

/** How a duration is written, for messages. */
const durationForm = 'such as 30s, 10min, 2h or 1d';

const unitMs: Readonly<Record<string, number>> = { s: 1_000, min: 60_000, h: 3_600_000, d: 86_400_000 };
const durationMsMin = 100;
const durationMsMax = 366 * 86_400_000;

/** Milliseconds of a duration of at least a tenth of a second; undefined for what is none. */
export function parseDuration(text: string): number | undefined {
  const [, amount, unit = ''] = /^(\d{1,7}(?:\.\d{1,3})?) ?(s|min|h|d)$/.exec(text) ?? [];
  const each = unitMs[unit];
  if (amount === undefined || each === undefined) return undefined;
  const ms = Math.round(Number(amount) * each);
  return ms >= durationMsMin && ms <= durationMsMax ? ms : undefined;
}

/** Parses an option's value, and says what it may be when it is not. */
export function duration(text: string): number {
  const ms = parseDuration(text);
  if (ms === undefined) throw new InvalidArgumentError(`A duration is ${durationForm}.`);
  return ms;
}

/** In the one unit that fits best. */
export function formatDuration(ms: number): string {
  const seconds = Math.round(ms / 1_000);
  if (seconds < 120) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 120) return `${minutes} min`;
  const hours = Math.round(minutes / 60);
  return hours < 48 ? `${hours} h` : `${Math.round(hours / 24)} days`;
}
