import {
  branches,
  childrenOf,
  depthMax,
  fingerprintBytes,
  type Item,
  isLeaf,
  itemKeyBytes,
  itemsOf,
  itemValueBytes,
  leafItemsMax,
  type Prefix,
  type Summary,
  sameSummary,
  summaryOf,
  type TreeReader,
} from './fingerprint-tree.ts';

/**
 * Range-based set reconciliation (Meyer, "Range-Based Set Reconciliation", SRDS 2023) over aligned ranges: the
 * asker sends what it knows of ranges, the answerer says which differ and what is in them one level down, until
 * ranges are small enough to be listed. The answerer keeps no state. A peer that lies can waste a bounded number
 * of questions, and hide only what it could have withheld anyway. Either side's set may change between questions:
 * what is missed then differs in the next reconciliation.
 */

/** Ranges in one question: with 20 bytes of summary and up to 16 of prefix this stays well within a message. */
export const rangesMax = 1_024;
/**
 * What the ranges of one answer may hold together, in bytes: it stays well within a message, and its thousand items
 * are read on one side, and compared on the other, in a few milliseconds.
 */
const answerBytesMax = 64 * 1024;
/** A split range of so few items is listed all the same: it costs less than another trip for its parts. */
const listedItemsMax = 2 * leafItemsMax;
const itemBytes = itemKeyBytes + itemValueBytes;
const splitBytes = branches * (4 + fingerprintBytes);

/**
 * Ranges asked for in one reconciliation: enough for some 5 million items that all differ. What was found until
 * then is not lost, so the next reconciliation has less to ask.
 */
export const questionsMax = 262_144;

/** A range of one of the sets that are compared together; sets are numbered by agreement, such as by slot. */
export interface Range {
  readonly set: number;
  readonly prefix: Prefix;
}

/** What the asker knows of one range. */
export interface RangeQuestion extends Range {
  readonly summary: Summary;
}

/** The tree of each set; an answerer gives undefined for a set it does not hold, which then reads as the same. */
export type ReaderOf = (set: number) => TreeReader | undefined;

/** What the answerer has there, when it differs. */
export type RangeAnswer =
  | { readonly kind: 'same' }
  /** Everything in the range, in key order. */
  | { readonly kind: 'items'; readonly items: readonly Item[] }
  /** The 16 ranges below. */
  | { readonly kind: 'split'; readonly children: readonly Summary[] }
  /** The answer had no more room: ask again. */
  | { readonly kind: 'later' };

/** One item on which the two sides differ; what a side does not have is undefined. */
export interface Difference {
  readonly set: number;
  readonly key: Uint8Array;
  readonly ours: Uint8Array | undefined;
  readonly theirs: Uint8Array | undefined;
}

/** Answers questions about a set. Costs one row a range, two where it is part of a leaf. */
export function answerRanges(readerOf: ReaderOf, questions: readonly RangeQuestion[]): RangeAnswer[] {
  let roomBytes = answerBytesMax;
  let isFull = false;
  return questions.map(({ set, prefix, summary }): RangeAnswer => {
    // What finds no room is not even looked at, so that the work for one answer is bounded as its size is.
    if (isFull) return { kind: 'later' };
    const reader = readerOf(set);
    if (reader === undefined) return { kind: 'same' };
    const ours = summaryOf(reader, prefix);
    if (sameSummary(ours, summary)) return { kind: 'same' };
    const isSplit = ours.count > listedItemsMax && !isLeaf(reader, prefix);
    const items = isSplit ? [] : [...itemsOf(reader, prefix)];
    const bytes = isSplit ? splitBytes : items.length * itemBytes;
    // The first answer always fits: a leaf that is too deep to be split has as many items as could be crowded there.
    if (bytes > roomBytes && roomBytes < answerBytesMax) {
      isFull = true;
      return { kind: 'later' };
    }
    roomBytes -= bytes;
    return isSplit ? { kind: 'split', children: childrenOf(reader, prefix) } : { kind: 'items', items };
  });
}

/**
 * The asking side: hands out questions, takes in their answers, and gathers the differences. `fault` is set, and
 * nothing more is asked, once an answer is not one to its question.
 */
export class Reconciliation {
  readonly #readerOf: (set: number) => TreeReader;
  /** Taken from the end, so that it stays as small as the tree is deep. */
  readonly #waiting: Range[];
  /** Only what is here is compared: ranges that are empty here are not asked about. */
  readonly #onlyOurs: boolean;
  #asked: readonly Range[] = [];
  #questions = 0;
  #fault: string | undefined;

  /** Compares these sets, all in the same rounds; with `onlyOurs`, as far as there is something here. */
  constructor(
    readerOf: (set: number) => TreeReader,
    sets: readonly number[],
    { onlyOurs = false }: { readonly onlyOurs?: boolean } = {},
  ) {
    this.#readerOf = readerOf;
    this.#onlyOurs = onlyOurs;
    const compared = onlyOurs ? sets.filter((set) => summaryOf(readerOf(set), []).count > 0) : sets;
    this.#waiting = compared.map((set) => ({ set, prefix: [] })).reverse();
  }

  get fault(): string | undefined {
    return this.#fault;
  }

  /** The next questions, at most `rangesMax`; none when everything is compared. */
  ask(): readonly RangeQuestion[] {
    if (this.#fault !== undefined) return [];
    this.#asked = this.#waiting.splice(-rangesMax).reverse();
    this.#questions += this.#asked.length;
    if (this.#questions > questionsMax) this.#fail('the peer has too many ranges that differ');
    return this.#asked.map(({ set, prefix }) => ({ set, prefix, summary: summaryOf(this.#readerOf(set), prefix) }));
  }

  /** Takes in the answers to the questions asked last, in their order; returns the differences they show. */
  take(answers: readonly RangeAnswer[]): Difference[] {
    const asked = this.#asked;
    this.#asked = [];
    if (answers.length !== asked.length) return this.#fail('the answers are not as many as the questions');
    if (answers.length > 0 && answers.every((answer) => answer.kind === 'later')) {
      return this.#fail('the answer puts everything off');
    }
    const differences: Difference[] = [];
    const deeper: Range[] = [];
    for (const [index, answer] of answers.entries()) {
      const range = asked[index] as Range;
      if (answer.kind === 'later') deeper.push(range);
      else if (answer.kind === 'split') deeper.push(...this.#split(range, answer.children));
      else if (answer.kind === 'items') differences.push(...this.#compare(range, answer.items));
      if (this.#fault !== undefined) return [];
    }
    this.#waiting.push(...deeper.reverse());
    return differences;
  }

  #split({ set, prefix }: Range, children: readonly Summary[]): Range[] {
    const total = children.reduce((sum, child) => sum + child.count, 0);
    if (children.length !== branches || prefix.length >= depthMax || total <= leafItemsMax) {
      this.#fail('a range is not split into what it can be split into');
      return [];
    }
    const ours = childrenOf(this.#readerOf(set), prefix);
    return children.flatMap((theirs, step) => {
      const mine = ours[step];
      if (mine !== undefined && sameSummary(mine, theirs)) return [];
      if (this.#onlyOurs && mine?.count === 0) return [];
      return [{ set, prefix: [...prefix, step] }];
    });
  }

  #compare({ set, prefix }: Range, theirs: readonly Item[]): Difference[] {
    const ours = new Map(Array.from(itemsOf(this.#readerOf(set), prefix), (item) => [hex(item.key), item]));
    const differences: Difference[] = [];
    let last: Uint8Array | undefined;
    for (const { key, value } of theirs) {
      if (!isItem(key, value) || !isWithin(key, prefix) || (last !== undefined && Buffer.compare(key, last) <= 0)) {
        return this.#fail('a listing is out of order or out of its range');
      }
      last = key;
      const mine = ours.get(hex(key));
      ours.delete(hex(key));
      if (mine === undefined || Buffer.compare(mine.value, value) !== 0) {
        differences.push({ set, key, ours: mine?.value, theirs: value });
      }
    }
    for (const { key, value } of ours.values()) differences.push({ set, key, ours: value, theirs: undefined });
    return differences;
  }

  #fail(reason: string): Difference[] {
    this.#fault = reason;
    this.#waiting.length = 0;
    return [];
  }
}

function isItem(key: Uint8Array, value: Uint8Array): boolean {
  return key.length === itemKeyBytes && value.length === itemValueBytes;
}

function isWithin(key: Uint8Array, prefix: Prefix): boolean {
  return prefix.every((step, depth) => {
    const byte = key[depth >> 1] ?? 0;
    return step === (depth % 2 === 0 ? byte >> 4 : byte & 0x0f);
  });
}

function hex(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('hex');
}
