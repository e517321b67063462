import { describe, expect, test } from 'vitest';
import { runs } from '../../support/property-runs.ts';
import { QuorumModel } from './model.ts';
import type { ModelFaults, ModelProfile } from './model-parts.ts';

const profiles: Readonly<Record<string, ModelProfile>> = {
  'one set of coordinators': { changesEpochs: false, restoresDisk: false, crashes: 0.01, registers: 2 },
  'many registers that begin': { changesEpochs: false, restoresDisk: false, crashes: 0.03, registers: 16 },
  'changing coordinators': { changesEpochs: true, restoresDisk: false, crashes: 0.01, registers: 2 },
  'registers that begin while coordinators change': {
    changesEpochs: true,
    restoresDisk: false,
    crashes: 0.01,
    registers: 16,
  },
  'an older disk put back': { changesEpochs: false, restoresDisk: true, crashes: 0.01, registers: 2 },
  'an older disk put back while registers begin': {
    changesEpochs: false,
    restoresDisk: true,
    crashes: 0.01,
    registers: 16,
  },
};
/** Runs of many registers take as much longer. */
const seedsOf = ({ registers }: ModelProfile): number => runs(registers > 2 ? 1 : 2).numRuns;

/** The first seed under which a faulty register is caught, with what was seen; undefined when none of them does. */
function caught(
  profile: ModelProfile,
  faults: ModelFaults,
  seedsMax: number,
): { readonly seed: number; readonly seen: string } | undefined {
  for (let seed = 1; seed <= seedsMax; seed += 1) {
    const [seen] = new QuorumModel(`fault ${seed}`, profile, faults).run();
    if (seen !== undefined) return { seed, seen };
  }
  return undefined;
}

describe('the register, under loss, duplication, reordering, duels, cuts and crashes', () => {
  test.each(Object.entries(profiles))('keeps one chain and goes on, with %s', (name, profile) => {
    const failures: string[] = [];
    const seedsEach = seedsOf(profile);
    let certificates = 0;
    let confirmed = 0;
    let epochs = 0;
    let restored = 0;
    let firsts = 0;
    let laterFirsts = 0;
    for (let seed = 1; seed <= seedsEach; seed += 1) {
      const model = new QuorumModel(`${name} ${seed}`, profile);
      const [violation] = model.run();
      if (violation !== undefined) failures.push(`seed ${seed}: ${violation}`);
      certificates += model.history.certificates;
      confirmed += model.confirmed;
      epochs += model.epoch - 1;
      restored += model.restoredNode === undefined ? 0 : 1;
      firsts += model.firsts;
      laterFirsts += model.laterFirsts;
    }
    expect(failures).toEqual([]);
    // A run in which nothing happens would prove nothing.
    expect(certificates).toBeGreaterThan(5 * seedsEach);
    expect(confirmed).toBeGreaterThan(5 * seedsEach);
    expect(firsts).toBeGreaterThan(seedsEach / 10);
    if (profile.changesEpochs) expect(epochs).toBeGreaterThan(seedsEach);
    if (profile.changesEpochs && profile.registers > 2) expect(laterFirsts).toBeGreaterThan(5);
    if (profile.restoresDisk) expect(restored).toBeGreaterThan(seedsEach / 4);
  });

  test('the same seed gives the same run', () => {
    const run = (): number[] => {
      const model = new QuorumModel('again', { changesEpochs: true, restoresDisk: false, crashes: 0.01, registers: 2 });
      model.run();
      return [model.history.certificates, model.confirmed, model.epoch];
    };
    expect(run()).toEqual(run());
  });
});

describe('a deliberate fault is caught within a bounded number of seeds', () => {
  const still = profiles['one set of coordinators'] as ModelProfile;
  const crashing: ModelProfile = { ...still, crashes: 0.04 };
  const changing = profiles['changing coordinators'] as ModelProfile;
  const restoring = profiles['an older disk put back'] as ModelProfile;
  const restoringAndBeginning = profiles['an older disk put back while registers begin'] as ModelProfile;
  const beginning = profiles['many registers that begin'] as ModelProfile;
  const failing: ModelProfile = { ...beginning, crashes: 0.1, registers: 24 };
  const beginningAnew = profiles['registers that begin while coordinators change'] as ModelProfile;
  const cases: readonly (readonly [string, ModelProfile, ModelFaults, number])[] = [
    ['an answer before the flush', crashing, { answersBeforeFlush: true, ignoresSequence: true }, 200],
    ['a ballot used again after a restart', crashing, { reusesBallots: true }, 1_500],
    ['signatures of different ballots added up', still, { addsUpBallots: true }, 20],
    ['an uncertified value dropped', still, { dropsUncertified: true }, 20],
    ['no check of the epoch', changing, { ignoresEpochs: true }, 200],
    ['a coordinator on an older disk believed', restoring, { ignoresSequence: true }, 200],
    ['what its questions told of its votes forgotten', restoringAndBeginning, { forgetsWhatIsTold: true }, 400],
    ['a first round before its own vote is on disk', failing, { firstAsksAllAtOnce: true }, 100],
    ['a first round by any coordinator', beginning, { firstByAnybody: true }, 60],
    ['a first round before the carry-over', beginningAnew, { firstBeforeCarry: true }, 150],
    ['a vote in a first round against a promise', beginning, { firstDespitePromise: true }, 60],
    ['a vote given again without the promise along with it', beginning, { votesAgainUnpromised: true }, 400],
    ['signatures under a batch and under one statement added up', still, { addsUpForms: true }, 20],
  ];

  test.each(cases)('%s', (_name, profile, faults, seedsMax) => {
    const found = caught(profile, faults, seedsMax);
    expect(found?.seen).toEqual(expect.any(String));
  });
});
