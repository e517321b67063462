import { setTimeout as sleep } from 'node:timers/promises';
import { ApiError } from '../../client/api-error.ts';
import { TourFault } from './tour-types.ts';

const pollMs = 25;

export interface UntilOptions {
  /** What is waited for, as in "n3 to have the file". */
  readonly what: string;
  readonly withinMs: number;
  readonly signal: AbortSignal;
}

/** Asks until there is an answer. `probe` says what it saw instead when it was not there yet. */
export async function until<T>(
  probe: () => Promise<{ found: T } | { instead: string }>,
  options: UntilOptions,
): Promise<T> {
  const deadlineMs = performance.now() + options.withinMs;
  for (;;) {
    const seen = await probe();
    if ('found' in seen) return seen.found;
    if (performance.now() > deadlineMs) {
      const waited = `Waited ${options.withinMs / 1000} s for ${options.what}`;
      throw new TourFault(`${waited}; last seen: ${seen.instead}.`);
    }
    await sleep(pollMs, undefined, { signal: options.signal });
  }
}

/** Answers that a node gives while something is still on its way to it. */
const notYetCodes = new Set(['not_found', 'version_not_found', 'content_unavailable', 'not_ready']);

/** Runs a read that fails as long as its object has not arrived. */
export async function whenThere<T>(read: () => Promise<T>, options: UntilOptions): Promise<T> {
  return until(async () => {
    try {
      return { found: await read() };
    } catch (error) {
      if (error instanceof ApiError && notYetCodes.has(error.code)) return { instead: error.message };
      throw error;
    }
  }, options);
}
