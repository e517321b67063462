import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { openLmdbKv } from '../../src/adapters/lmdb/kv.ts';
import { VirtualClock } from '../../src/adapters/memory/clock.ts';
import { MemoryKv } from '../../src/adapters/memory/kv.ts';
import { SeededRandom } from '../../src/adapters/memory/random.ts';
import type { Kv, KvRange, KvReader } from '../../src/ports/kv.ts';
import { type CrashingDatabase, openCrashingDatabase } from '../support/crashing-database.ts';
import { runs } from '../support/property-runs.ts';

type Step =
  | { readonly kind: 'put'; readonly key: Uint8Array; readonly value: Uint8Array }
  | { readonly kind: 'delete'; readonly key: Uint8Array }
  | { readonly kind: 'get'; readonly key: Uint8Array }
  | { readonly kind: 'range'; readonly range: KvRange };

interface Change {
  readonly steps: readonly Step[];
  readonly throws: boolean;
}

// Few and short keys, so that transactions meet on them.
const key = fc
  .uint8Array({ minLength: 1, maxLength: 2 })
  .map((bytes) => bytes.map((byte) => [0, 1, 97, 98, 255][byte % 5] ?? 0));
const value = fc.uint8Array({ maxLength: 8 });
const range: fc.Arbitrary<KvRange> = fc
  .record({ start: key, end: key, limit: fc.option(fc.nat(6), { nil: undefined }), reverse: fc.boolean() })
  .map(({ limit, ...rest }) => (limit === undefined ? rest : { ...rest, limit }));
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('put' as const), key, value }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('delete' as const), key }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('get' as const), key }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('range' as const), range }) },
);
const change: fc.Arbitrary<Change> = fc.record({
  steps: fc.array(step, { maxLength: 12 }),
  throws: fc.nat(3).map((drawn) => drawn === 0),
});
/** Each inner list is asked for in one turn, the next when it is done. */
const history = fc.array(fc.array(change, { minLength: 1, maxLength: 5 }), { maxLength: 8 });

const hex = (bytes: Uint8Array | undefined): string =>
  bytes === undefined ? 'absent' : Buffer.from(bytes).toString('hex');
const everything: KvRange = { start: Uint8Array.of(0), end: Uint8Array.of(255, 255, 255) };

/** The simplest thing that could keep keys in order: hexadecimal text sorts as the bytes do. */
class Model {
  entries = new Map<string, string>();

  copy(): Model {
    const copy = new Model();
    copy.entries = new Map(this.entries);
    return copy;
  }

  list(wanted: KvRange): string[] {
    const keys = [...this.entries.keys()].filter((each) => each >= hex(wanted.start) && each < hex(wanted.end)).sort();
    if (wanted.reverse) keys.reverse();
    return keys.slice(0, wanted.limit ?? keys.length).map((each) => `${each}=${this.entries.get(each)}`);
  }

  /** What the reads of the steps saw. */
  apply(steps: readonly Step[]): string[] {
    const seen: string[] = [];
    for (const each of steps) {
      if (each.kind === 'put') this.entries.set(hex(each.key), hex(each.value));
      else if (each.kind === 'delete') this.entries.delete(hex(each.key));
      else if (each.kind === 'get') seen.push(this.entries.get(hex(each.key)) ?? 'absent');
      else seen.push(...this.list(each.range));
    }
    return seen;
  }
}

const list = (reader: KvReader, wanted: KvRange): string[] =>
  [...reader.range(wanted)].map(([stored, bytes]) => `${hex(stored)}=${hex(bytes)}`);

const perform = (kv: Kv, { steps, throws }: Change): Promise<string[]> =>
  kv.transact((transaction) => {
    const seen: string[] = [];
    for (const each of steps) {
      if (each.kind === 'put') transaction.put(each.key, each.value);
      else if (each.kind === 'delete') transaction.delete(each.key);
      else if (each.kind === 'get') seen.push(hex(transaction.get(each.key)));
      else seen.push(...list(transaction, each.range));
    }
    if (throws) throw new Error('as drawn');
    return seen;
  });

async function expectLikeModel(kv: Kv, turns: readonly (readonly Change[])[]): Promise<void> {
  let model = new Model();
  for (const changes of turns) {
    const outcomes = await Promise.allSettled(changes.map((each) => perform(kv, each)));
    for (const [index, each] of changes.entries()) {
      const after = model.copy();
      const seen = after.apply(each.steps);
      if (each.throws) expect(outcomes[index]?.status).toBe('rejected');
      else expect(outcomes[index]).toEqual({ status: 'fulfilled', value: seen });
      if (!each.throws) model = after;
    }
    expect(list(kv, everything)).toEqual(model.list(everything));
  }
}

describe('every store', () => {
  it('reads as a plain sorted map does, whatever was asked of it (memory)', async () => {
    await fc.assert(
      fc.asyncProperty(history, (turns) => expectLikeModel(new MemoryKv(new VirtualClock()), turns)),
      runs(3),
    );
  });

  it('reads as a plain sorted map does, whatever was asked of it (lmdb)', async () => {
    await fc.assert(
      fc.asyncProperty(history, async (turns) => {
        const directory = await mkdtemp(join(tmpdir(), 'anabranch-kv-'));
        const kv = await openLmdbKv(directory);
        try {
          await expectLikeModel(kv, turns);
        } finally {
          await kv.close();
          await rm(directory, { recursive: true });
        }
      }),
      runs(1),
    );
  });
});

describe('a crash of the LMDB store', () => {
  it('leaves all that was acknowledged, wherever its rows are on their way to LMDB', async () => {
    const turns = fc.array(
      fc.record({ changes: fc.array(change, { minLength: 1, maxLength: 5 }), crashes: fc.boolean() }),
      {
        maxLength: 10,
      },
    );
    await fc.assert(
      fc.asyncProperty(turns, fc.integer({ min: 1, max: 12 }), async (drawn, fullRows) => {
        const directory = await mkdtemp(join(tmpdir(), 'anabranch-kv-'));
        const options = { fullRows, transactionRows: 3, restMs: 2 };
        const opened = [await openCrashingDatabase(join(directory, '0'), options)];
        const model = new Model();
        try {
          for (const { changes, crashes } of drawn) {
            const { kv, crash } = opened.at(-1) as CrashingDatabase;
            for (const { steps } of changes) model.apply(steps);
            await Promise.all(changes.map(({ steps }) => perform(kv, { steps, throws: false })));
            if (!crashes) continue;
            const next = join(directory, String(opened.length));
            await crash(next);
            opened.push(await openCrashingDatabase(next, options));
            expect(list((opened.at(-1) as CrashingDatabase).kv, everything)).toEqual(model.list(everything));
          }
        } finally {
          for (const { kv } of opened) await kv.close();
          await rm(directory, { recursive: true });
        }
      }),
      runs(0.3),
    );
  });
});

describe('a crash of the memory store', () => {
  it('leaves what some prefix of the transactions wrote, and at least all that was acknowledged', async () => {
    const moments = fc.array(fc.record({ change, passMs: fc.nat(4) }), { maxLength: 20 });
    await fc.assert(
      fc.asyncProperty(moments, fc.string(), async (asked, seed) => {
        const clock = new VirtualClock();
        const kv = new MemoryKv(clock, { flushDelayMs: 5 });
        const states = [new Model()];
        let acknowledged = 0;
        for (const { change: each, passMs } of asked) {
          const position = each.throws ? 0 : states.length;
          perform(kv, each).then(
            () => {
              acknowledged = Math.max(acknowledged, position);
            },
            () => {},
          );
          if (!each.throws) {
            const after = (states.at(-1) as Model).copy();
            after.apply(each.steps);
            states.push(after);
          }
          await clock.advance(passMs);
        }
        const found = list(kv.crash(new SeededRandom(seed)), everything);
        const possible = states.slice(acknowledged).map((state) => state.list(everything));
        expect(possible).toContainEqual(found);
      }),
      runs(2),
    );
  });
});
