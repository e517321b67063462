import { z } from 'zod';
import { auditParameters } from './replication-schemas.ts';
import { count, hash, named, pageSize, text, versionId } from './schemas.ts';

/** The shapes of the calls about the content on the answering node’s own disk. */

const time = z.number().describe('Milliseconds since the epoch, for display.');

export const givenUpPage = named(
  z.strictObject({
    dead: z.array(
      z.strictObject({
        kind: z.enum(['content', 'blob']),
        hash: z.string().regex(hash),
        size: count,
        reason: z.enum(['unusable', 'unavailable', 'failing']),
        attempts: count,
        message: z.string(),
        time,
        version: z.strictObject({ ns: z.string(), key: z.string(), version: versionId }).nullable(),
      }),
    ),
    count,
    next: z.string().nullable(),
  }),
  'GivenUpPage',
  'Contents (by the hash of their manifest) and single blobs that the node gave up getting. `unusable`: its manifest is made up, which nothing can mend; `unavailable`: nobody had it for a day; `failing`: storing it failed for as long. `version` is one that has the content, or null; `count` is of all pages.',
);
export const retried = named(
  z.strictObject({ retried: count }),
  'Retried',
  'How many of what was given up are tried again.',
);

const scrubCounts = z.strictObject({
  blobs: count,
  bytes: count,
  damaged: count,
  incomplete: count,
  leftovers: count,
});
export const contentScrub = named(
  z.strictObject({
    periodMs: z.number(),
    bytesPerSecondMax: z.number(),
    running: z.boolean(),
    position: z.number().min(0).max(1),
    current: scrubCounts,
    last: scrubCounts.extend({ time }).nullable(),
  }),
  'ContentScrub',
  'The pass under way, `position` of it done, and the last whole one. `running`: it was asked for; else it goes on in the background, to be through once in `periodMs`. Read were `blobs`; found were `damaged` ones, contents that were `incomplete` (both are fetched again) and `leftovers` (removed).',
);

export const givenUpParameters = z.strictObject({
  after: text('Continue after this hash: the `next` of the page before.'),
  limit: pageSize.optional().describe('Entries on the page; 100 when absent.'),
});
export const retryParameters = z.strictObject({ hash: text('Only this one; all when absent.') });
export const scrubParameters = auditParameters;
