import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type GraphLink, walkMissing } from '../../crdt/graph-difference.ts';
import type { DocId, VersionId } from '../../crdt/ids.ts';
import { Histories, type HistorySource } from '../../protocols/sync/histories.ts';
import type { Clock } from '../../src/ports/clock.ts';
import { runs } from '../support/property-runs.ts';

const doc = 'doc' as DocId;

/** A document that grows, and how often its versions are looked at, in all and in one turn of the event loop. */
class Document implements HistorySource {
  readonly links = new Map<VersionId, GraphLink>();
  readonly ids: VersionId[] = [];
  readonly heads = new Set<VersionId>();
  looks = 0;
  looksInTurn = 0;
  looksInTurnMost = 0;

  readonly clock = {
    sleep: async () => {
      this.looksInTurn = 0;
    },
  } as unknown as Clock;

  add(picks: readonly number[]): void {
    const { ids } = this;
    const parents = ids.length === 0 ? [] : [...new Set(picks.map((pick) => ids[pick % ids.length] as VersionId))];
    const generation = 1 + Math.max(0, ...parents.map((id) => this.links.get(id)?.generation ?? 0));
    const id = `v${String((ids.length * 7919) % 99_991).padStart(5, '0')}` as VersionId;
    ids.push(id);
    this.links.set(id, { parents, generation });
    this.heads.add(id);
    for (const parent of parents) this.heads.delete(parent);
  }

  headsOf(): VersionId[] {
    return [...this.heads];
  }

  walkBeyond(heads: readonly VersionId[], have: readonly VersionId[]): Iterable<VersionId | null> {
    return walkMissing(heads, have, (id) => this.#look(id));
  }

  parentsOf(id: VersionId): readonly VersionId[] | undefined {
    return this.#look(id)?.parents;
  }

  #look(id: VersionId): GraphLink | undefined {
    this.looks += 1;
    this.looksInTurn += 1;
    this.looksInTurnMost = Math.max(this.looksInTurnMost, this.looksInTurn);
    return this.links.get(id);
  }
}

/** Somebody who takes in what is sent, parents first, and names the heads of what it has. */
class Asker {
  readonly #document: Document;
  readonly held = new Set<VersionId>();

  constructor(document: Document) {
    this.#document = document;
  }

  take(id: VersionId): void {
    for (const parent of this.#document.links.get(id)?.parents ?? [])
      assert(this.held.has(parent), `${id} came before its parent ${parent}`);
    this.held.add(id);
  }

  /** Has a version and all its ancestors from somebody else. */
  hear(id: VersionId): void {
    if (this.held.has(id)) return;
    for (const parent of this.#document.links.get(id)?.parents ?? []) this.hear(parent);
    this.held.add(id);
  }

  have(): VersionId[] {
    const superseded = new Set([...this.held].flatMap((id) => this.#document.links.get(id)?.parents ?? []));
    return [...this.held].filter((id) => !superseded.has(id));
  }
}

/** One question, answered with so many versions at most; true when there was more. */
async function ask(histories: Histories, asker: Asker, have: readonly VersionId[], most: number): Promise<boolean> {
  const history = await histories.beyond(doc, have);
  let sent = 0;
  for (const id of history.missing) {
    if (sent === most) {
      histories.keep(history);
      return true;
    }
    sent += 1;
    assert(!asker.held.has(id), `${id} came twice`);
    asker.take(id);
  }
  return history.isCut;
}

const picks = fc.array(fc.nat(), { maxLength: 3 });
const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('ask' as const), most: fc.integer({ min: 1, max: 12 }) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('write' as const), picks }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('hear' as const), pick: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('lose' as const) }) },
);

describe('the history that an asker is sent in several answers', () => {
  test('is whole, parents first, and nothing of it comes twice, whatever either side hears meanwhile', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(picks, { minLength: 1, maxLength: 60 }),
        fc.array(step, { maxLength: 30 }),
        fc.integer({ min: 1, max: 40 }),
        async (grown, steps, missingMax) => {
          const document = new Document();
          for (const each of grown) document.add(each);
          let asker = new Asker(document);
          const histories = new Histories(document, document.clock, { missingMax });
          for (const each of steps) {
            if (each.kind === 'write') document.add(each.picks);
            if (each.kind === 'hear') asker.hear(document.ids[each.pick % document.ids.length] as VersionId);
            // It is emptied, as a node that is no holder of the slot for a while.
            if (each.kind === 'lose') asker = new Asker(document);
            if (each.kind === 'ask') await ask(histories, asker, asker.have(), each.most);
          }
          for (let more = true; more; ) more = await ask(histories, asker, asker.have(), 7);
          expect([...asker.held].sort()).toEqual([...document.ids].sort());
        },
      ),
      runs(5),
    );
  });

  test('is walked once, a little in each turn, and what came meanwhile alone is walked again', async () => {
    const document = new Document();
    const length = 20_000;
    const grow = (): void => document.add([document.ids.length - 1]);
    while (document.ids.length < length) grow();
    const asker = new Asker(document);
    const histories = new Histories(document, document.clock);
    let head: VersionId[] = [];
    for (let more = true; more; ) {
      more = await ask(histories, asker, head, 4_096);
      head = [[...asker.held].at(-1) as VersionId];
      if (document.ids.length < length + 3) grow();
    }
    expect(asker.held.size).toBe(length + 3);
    expect(document.looks).toBeLessThan(2.2 * length);
    expect(document.looksInTurnMost).toBeLessThan(300);
  });

  test('is walked a few times where it is longer than what is kept in mind', async () => {
    const document = new Document();
    const length = 20_000;
    while (document.ids.length < length) document.add([document.ids.length - 1]);
    const asker = new Asker(document);
    const histories = new Histories(document, document.clock, { missingMax: 8_192 });
    let head: VersionId[] = [];
    for (let more = true; more; head = [[...asker.held].at(-1) as VersionId]) {
      more = await ask(histories, asker, head, 1_024);
    }
    expect(asker.held.size).toBe(length);
    expect(document.looks).toBeLessThan(4 * length);
  });
});
