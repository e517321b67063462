import { configureGlobal } from 'fast-check';

/**
 * Property tests draw from one fixed seed, so that a run of the suite is the same everywhere.
 * A longer sweep takes another: `ANABRANCH_SEED=7 ANABRANCH_RUNS=10000 npx vitest run --project property`.
 */
const defaultSeed = 0x0a_ab_ac_4e;
const defaultRuns = 100;

const integerFrom = (name: string, fallback: number): number => {
  const text = process.env[name];
  if (text === undefined || text === '') return fallback;
  const value = Number(text);
  if (!Number.isSafeInteger(value)) throw new Error(`${name} must be an integer, not "${text}"`);
  return value;
};

configureGlobal({
  seed: integerFrom('ANABRANCH_SEED', defaultSeed),
  numRuns: integerFrom('ANABRANCH_RUNS', defaultRuns),
});
