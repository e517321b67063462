/** The story of `examples.ts` goes on: of one version nobody had the content any more, and the disk was read through. */

const version = {
  ns: 'team-docs',
  key: 'rivers/anabranch.md',
  version: 'b7a3sirmkgiwscyf27qr3jziuub4kp43yhw2jcxvpqcqckhxanra',
};
const hash = 'zabsddvdynhodntr4vcwfnun24fngj2uqfmzhndedqazobc5b3ga';
const time = 1_751_360_400_000;

export const givenUp = {
  dead: [
    {
      kind: 'content',
      hash,
      size: 33,
      reason: 'unavailable',
      attempts: 312,
      message: 'no holder has it',
      time,
      version,
    },
  ],
  count: 1,
  next: null,
};
export const retried = { retried: 1 };

const counts = { blobs: 31, bytes: 1_048_576, damaged: 0, incomplete: 0, leftovers: 0 };
const pace = { periodMs: 1_209_600_000, bytesPerSecondMax: 33_554_432 };
export const scrubRuns = {
  ...pace,
  running: true,
  position: 0.5,
  current: { ...counts, blobs: 15, bytes: 524_288 },
  last: null,
};
export const scrubDone = {
  ...pace,
  running: false,
  position: 0,
  current: { blobs: 0, bytes: 0, damaged: 0, incomplete: 0, leftovers: 0 },
  last: { ...counts, damaged: 1, time },
};
