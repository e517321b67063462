import type { DocId, VersionId } from '../../crdt/ids.ts';
import type { Clock } from '../../src/ports/clock.ts';

/** Versions of one history that are kept in mind, at some 100 bytes each; those above them are walked to again. */
const missingMax = 32_768;
/** Versions looked at in one turn of the event loop: some milliseconds, since each is read and decoded. */
const lookedAtPerTurnMax = 128;

/** What is read of the versions of documents. */
export interface HistorySource {
  headsOf(doc: DocId): readonly VersionId[];
  /**
   * Versions reachable from `heads` and not from `have`, children first, with a null for each that was looked at in vain.
   * One step looks at one version or a few.
   */
  walkBeyond(heads: readonly VersionId[], have: readonly VersionId[]): Iterable<VersionId | null>;
  /** A version's parents; undefined when it is not here. */
  parentsOf(version: VersionId): readonly VersionId[] | undefined;
}

/** What an asker lacks of a document. */
interface History {
  readonly doc: DocId;
  /** From where it was walked, and to where: what the asker had that is here. */
  readonly heads: readonly VersionId[];
  readonly have: ReadonlySet<VersionId>;
  /** The versions, parents first. */
  readonly missing: Set<VersionId>;
  /** There is more above them. */
  readonly isCut: boolean;
  /** Those of them that were sent: see `toSend`. */
  readonly sent: Set<VersionId>;
}

/** How an asker names what it has. */
interface Naming {
  /** It named as many heads as it may, so it can have more of them than it said. */
  readonly isFull: boolean;
}

/**
 * What is to be sent of a history, parents first; what is taken from this counts as sent. An asker that names all its
 * heads shows by them what it took in, and is sent the rest again. One that has too many to name cannot: it is sent each
 * version once, or those that it holds unnamed would fill every answer.
 */
export function* toSend({ missing, sent }: History, { isFull }: Naming): Generator<VersionId> {
  for (const id of missing) {
    if (isFull && sent.has(id)) continue;
    yield id;
    sent.add(id);
  }
}

/**
 * Finds what one asker lacks of documents. A walk goes from the heads down and what is sent begins at its other end, so
 * that the rest of a history that has no room in one answer is kept for the next question: a peer that takes in a
 * long one has it walked once or a few times, and not once for every answer. One such rest is kept, and every walk is
 * cut into turns.
 */
export class Histories {
  readonly #source: HistorySource;
  readonly #clock: Clock;
  readonly #missingMax: number;
  #kept: History | undefined;
  #looked = 0;

  constructor(source: HistorySource, clock: Clock, options: { readonly missingMax?: number } = {}) {
    this.#source = source;
    this.#clock = clock;
    this.#missingMax = options.missingMax ?? missingMax;
  }

  /** What is here of a document and not reachable from what the asker has. */
  async beyond(doc: DocId, have: readonly VersionId[], naming: Naming = { isFull: false }): Promise<History> {
    const kept = this.#kept?.doc === doc ? this.#kept : undefined;
    if (kept === undefined) return this.#walk(doc, have);
    this.#kept = undefined;
    return (await this.#goOn(kept, have, naming)) ?? (await this.#walk(doc, have));
  }

  /** Not all of it was sent: the asker is going to ask for the rest. */
  keep(history: History): void {
    this.#kept = history;
  }

  /** Of an object of one version, as most are, there is nothing to walk. */
  async #walk(doc: DocId, have: readonly VersionId[]): Promise<History> {
    const heads = this.#source.headsOf(doc);
    const sole = have.length === 0 && heads.length === 1 ? (heads[0] as VersionId) : undefined;
    if (sole !== undefined && this.#source.parentsOf(sole)?.length === 0) {
      await this.#turn();
      return { doc, heads, have: new Set(), missing: new Set([sole]), isCut: false, sent: new Set() };
    }
    const known = new Set<VersionId>();
    for (const id of have) {
      if (this.#source.parentsOf(id) !== undefined) known.add(id);
      await this.#turn();
    }
    const { ids, isCut } = await this.#lowest(heads, have, this.#missingMax);
    return { doc, heads, have: known, missing: new Set(ids), isCut, sent: new Set() };
  }

  /** What was walked last, when all that the asker has is in it, less what it has by now; else undefined. */
  async #goOn(
    { doc, heads, have, missing, isCut, sent }: History,
    named: readonly VersionId[],
    { isFull }: Naming,
  ): Promise<History | undefined> {
    const known = new Set<VersionId>();
    const taken: VersionId[] = [];
    /** What it had: it has these still, or something that came of them. */
    const unseen = new Set(have);
    for (const id of named) {
      if (unseen.delete(id)) known.add(id);
      else if (missing.has(id)) taken.push(id);
      else if (this.#source.parentsOf(id) !== undefined) return undefined;
      await this.#turn();
    }
    for (const id of taken) known.add(id);
    for (let id = taken.pop(); id !== undefined; id = taken.pop()) {
      if (!missing.delete(id)) continue;
      for (const parent of this.#source.parentsOf(id) ?? []) {
        unseen.delete(parent);
        if (missing.has(parent)) taken.push(parent);
      }
      await this.#turn();
    }
    // With too many heads to name it has those still that it named before.
    if ((!isFull && unseen.size > 0) || (isCut && missing.size === 0)) return undefined;
    if (isFull) for (const id of unseen) known.add(id);
    return this.#withNewer({ doc, heads, have: known, missing, isCut, sent });
  }

  /** With what came to the document since it was walked. */
  async #withNewer(walked: History): Promise<History> {
    const { doc, heads, have, missing, sent } = walked;
    const now = this.#source.headsOf(doc);
    if (walked.isCut) return walked;
    const { ids, isCut } = await this.#lowest(now, heads, this.#missingMax - missing.size);
    for (const id of ids) missing.add(id);
    return { doc, heads: isCut ? heads : now, have, missing, isCut, sent };
  }

  /** The last of what a walk finds, so many at most, in the opposite order: parents first. */
  async #lowest(
    heads: readonly VersionId[],
    have: readonly VersionId[],
    max: number,
  ): Promise<{ readonly ids: readonly VersionId[]; readonly isCut: boolean }> {
    let ids: VersionId[] = [];
    let isCut = false;
    // The first step of a walk looks at all the heads. They may be thousands, so they are read in turns before.
    for (const id of heads.length > lookedAtPerTurnMax ? heads : []) {
      this.#source.parentsOf(id);
      await this.#turn();
    }
    for (const id of this.#source.walkBeyond(heads, have)) {
      if (id !== null) ids.push(id);
      if (ids.length > 2 * max) {
        ids = ids.slice(ids.length - max);
        isCut = true;
      }
      await this.#turn();
    }
    if (ids.length > max) {
      ids = ids.slice(ids.length - max);
      isCut = true;
    }
    return { ids: ids.reverse(), isCut };
  }

  async #turn(): Promise<void> {
    this.#looked += 1;
    if (this.#looked % lookedAtPerTurnMax === 0) await this.#clock.sleep(0);
  }
}
