import { readConfigureGlobal } from 'fast-check';

/** A share of the configured number of runs: dear properties ask for less than one, cheap ones for more. */
export function runs(share: number): { numRuns: number } {
  return { numRuns: Math.max(1, Math.round((readConfigureGlobal()?.numRuns ?? 100) * share)) };
}
