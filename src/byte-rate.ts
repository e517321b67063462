import { rateLimitMin } from '../protocols/blobs/rate-limit.ts';

const units: Readonly<Record<string, number>> = { '': 1, KiB: 1_024, MiB: 1_024 ** 2, GiB: 1_024 ** 3 };

/** What a rate looks like, for a message. */
export const byteRateForm = `bytes a second, such as 512KiB or 10MiB, and at least ${rateLimitMin / 1_024}KiB`;

/** Bytes a second of a text such as `10MiB`; undefined when it is none, or less than may be set. */
export function parseByteRate(text: string): number | undefined {
  const [, amount, unit = ''] = /^(\d+(?:\.\d+)?)(KiB|MiB|GiB)?$/.exec(text) ?? [];
  const rate = Math.round(Number(amount) * (units[unit] ?? Number.NaN));
  return rate >= rateLimitMin && Number.isSafeInteger(rate) ? rate : undefined;
}
