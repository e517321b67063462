import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type MergeSource, mergePages } from '../../src/node/slots/page-merge.ts';

const names = fc.uniqueArray(fc.string({ minLength: 1, maxLength: 4 }), { maxLength: 40 });
const byBytes = (left: string, right: string): number => Buffer.compare(Buffer.from(left), Buffer.from(right));

/** A source that has some of the names, gives a few at a time, and now and then only says how far it looked. */
function sourceOf(all: readonly string[], own: ReadonlySet<string>, rowsMax: number): MergeSource<string> {
  return {
    page: async (after) => {
      const rest = after === undefined ? all : all.filter((name) => byBytes(name, after) > 0);
      const looked = rest.slice(0, rowsMax);
      const entries = looked.filter((name) => own.has(name));
      return { entries, next: looked.length === rest.length ? null : (looked.at(-1) ?? null) };
    },
  };
}

async function readAll(sources: readonly MergeSource<string>[], limit: number): Promise<string[]> {
  const read: string[] = [];
  for (let after: string | undefined; ; ) {
    const page = await mergePages(sources, (name) => name, { after, limit });
    expect(page.entries.length).toBeLessThanOrEqual(limit);
    read.push(...page.entries);
    if (page.next === null) return read;
    expect(after === undefined || byBytes(page.next, after) > 0).toBe(true);
    after = page.next;
  }
}

describe('a listing that several nodes have parts of', () => {
  it('is read whole, in order and each name once, however the parts and the pages are cut', async () => {
    await fc.assert(
      fc.asyncProperty(
        names,
        fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1, maxLength: 4 }),
        fc.infiniteStream(fc.nat({ max: 6 })),
        fc.integer({ min: 1, max: 12 }),
        async (unsorted, rowsMax, owners, limit) => {
          const all = unsorted.toSorted(byBytes);
          const parts = rowsMax.map(() => new Set<string>());
          for (const name of all) {
            // Some names are in two parts, as common prefixes are.
            for (let copies = 0; copies < 2; copies += 1) {
              parts[(owners.next().value as number) % parts.length]?.add(name);
            }
          }
          const sources = parts.map((own, at) => sourceOf(all, own, rowsMax[at] ?? 1));
          expect(await readAll(sources, limit)).toEqual(all);
        },
      ),
    );
  });

  it('comes in short pages when a source has to look far, and still to its end', async () => {
    const all = Array.from({ length: 500 }, (_, at) => String(at).padStart(3, '0'));
    const last = new Set(['499']);
    expect(await readAll([sourceOf(all, last, 1), sourceOf(all, new Set(['000']), 500)], 10)).toEqual(['000', '499']);
  });

  it('fails when a source does', async () => {
    const broken: MergeSource<string> = { page: () => Promise.reject(new Error('gone')) };
    const sound = sourceOf(['a'], new Set(['a']), 1);
    await expect(mergePages([sound, broken], (name) => name, { after: undefined, limit: 5 })).rejects.toThrow('gone');
  });
});
