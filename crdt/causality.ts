import { type Actor, type Dot, err, ok, type Result } from './ids.ts';
import { isActor } from './node-name.ts';

/** Counters `first` to `last`, both included. */
type DotRange = readonly [first: number, last: number];

/**
 * A set of dots, immutable. Each actor's ranges are ascending, not empty, and neither overlap nor touch, so one
 * set has one representation. For a version it is exactly its ancestors' dots (dotted version vectors: Preguiça,
 * Baquero et al., "Dotted Version Vectors", 2010), with gaps where a branch has not seen another's writes.
 */
export type DotContext = ReadonlyMap<Actor, readonly DotRange[]>;

/** A context in JSON: per actor `n` for the counters 1 to n, otherwise its ranges. */
export type EncodedContext = Readonly<Record<string, number | readonly DotRange[]>>;

/** The greatest counter of a dot: it fits 32 signed bits, so every language holds it, and it never runs out. */
export const counterMax = 2_147_483_647;

/** The context without dots. */
export const emptyContext: DotContext = new Map();

/** True when the context contains the dot. */
export function contextHas(context: DotContext, dot: Dot): boolean {
  const ranges = context.get(dot.actor);
  if (ranges === undefined) return false;
  // Binary search for the last range that starts at or before the counter.
  let low = 0;
  let high = ranges.length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    const range = ranges[middle] as DotRange;
    if (dot.counter < range[0]) high = middle - 1;
    else if (dot.counter > range[1]) low = middle + 1;
    else return true;
  }
  return false;
}

/** The context with one more dot; the same context when it is there already. */
export function contextAdd(context: DotContext, dot: Dot): DotContext {
  if (contextHas(context, dot)) return context;
  const changed = new Map(context);
  const ranges = context.get(dot.actor);
  changed.set(dot.actor, ranges === undefined ? [[dot.counter, dot.counter]] : addCounter(ranges, dot.counter));
  return changed;
}

function addCounter(ranges: readonly DotRange[], counter: number): readonly DotRange[] {
  const last = ranges[ranges.length - 1] as DotRange;
  // The usual case: the actor's next write.
  if (counter === last[1] + 1) return [...ranges.slice(0, -1), [last[0], counter]];
  return unionRanges(ranges, [[counter, counter]]);
}

/** Every dot of both: commutative, associative and idempotent. */
export function contextUnion(a: DotContext, b: DotContext): DotContext {
  if (a === b || b.size === 0) return a;
  if (a.size === 0) return b;
  const [large, small] = a.size >= b.size ? [a, b] : [b, a];
  const union = new Map(large);
  for (const [actor, ranges] of small) {
    const known = union.get(actor);
    if (known !== ranges) union.set(actor, known === undefined ? ranges : unionRanges(known, ranges));
  }
  return union;
}

function unionRanges(a: readonly DotRange[], b: readonly DotRange[]): readonly DotRange[] {
  const union: [number, number][] = [];
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    const left = a[i];
    const right = b[j];
    const takeLeft = right === undefined || (left !== undefined && left[0] <= right[0]);
    const next = (takeLeft ? left : right) as DotRange;
    if (takeLeft) i += 1;
    else j += 1;
    const last = union[union.length - 1];
    if (last !== undefined && next[0] <= last[1] + 1) last[1] = Math.max(last[1], next[1]);
    else union.push([next[0], next[1]]);
  }
  return union;
}

/** True when both contain the same dots. */
export function contextEquals(a: DotContext, b: DotContext): boolean {
  if (a === b) return true;
  if (a.size !== b.size) return false;
  for (const [actor, ranges] of a) {
    const others = b.get(actor);
    if (others === undefined || !rangesEqual(ranges, others)) return false;
  }
  return true;
}

function rangesEqual(a: readonly DotRange[], b: readonly DotRange[]): boolean {
  if (a === b) return true;
  return a.length === b.length && a.every(([first, last], at) => first === b[at]?.[0] && last === b[at]?.[1]);
}

/** The actor's greatest counter in the context, or 0. */
export function contextMax(context: DotContext, actor: Actor): number {
  return context.get(actor)?.at(-1)?.[1] ?? 0;
}

/** How many dots the context contains. */
export function contextSize(context: DotContext): number {
  let dots = 0;
  for (const ranges of context.values()) for (const [first, last] of ranges) dots += last - first + 1;
  return dots;
}

/** The context in its JSON form, as it stands in a version record. */
export function encodeContext(context: DotContext): EncodedContext {
  const encoded: Record<string, number | readonly DotRange[]> = {};
  for (const [actor, ranges] of context) {
    const [first, last] = ranges[0] as DotRange;
    encoded[actor] = ranges.length === 1 && first === 1 ? last : ranges;
  }
  return encoded;
}

/**
 * Reads the JSON form. Refuses, with a sentence, what `encodeContext` would not have written: a counter that is
 * not an integer from 1 to `counterMax`, ranges that are empty, out of order, overlap or touch, 1 to n as ranges,
 * and names that are not actors.
 */
export function decodeContext(encoded: unknown): Result<DotContext, string> {
  if (typeof encoded !== 'object' || encoded === null || Array.isArray(encoded)) {
    return err('a context is an object of actors');
  }
  const context = new Map<Actor, readonly DotRange[]>();
  for (const [actor, value] of Object.entries(encoded as Record<string, unknown>)) {
    if (!isActor(actor)) return err('a context names something that is not an actor');
    const ranges = isCounter(value) ? [[1, value] as const] : decodeRanges(value);
    if (ranges === undefined) return err(`the context's dots of ${actor} are not a counter or ranges in normal form`);
    context.set(actor, ranges);
  }
  return ok(context);
}

function decodeRanges(value: unknown): readonly DotRange[] | undefined {
  if (!Array.isArray(value) || value.length === 0) return undefined;
  let previousLast = -1;
  for (const range of value as unknown[]) {
    if (!Array.isArray(range) || range.length !== 2) return undefined;
    const [first, last] = range as unknown[];
    if (!isCounter(first) || !isCounter(last) || first > last || first <= previousLast + 1) return undefined;
    previousLast = last;
  }
  const ranges = value as [number, number][];
  return ranges.length === 1 && ranges[0]?.[0] === 1 ? undefined : ranges;
}

/** True for an integer from 1 to `counterMax`. */
export function isCounter(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= counterMax;
}

/** What causality needs to know of a version: its own dot and its ancestors' dots. */
export interface Dotted {
  readonly dot: Dot;
  readonly context: DotContext;
}

/** True when `a` has `b` among its ancestors, as far as dots can tell: exactly, while no dot is issued twice. */
export function supersedes(a: Dotted, b: Dotted): boolean {
  return contextHas(a.context, b.dot);
}

/** True when neither supersedes the other. A version is not concurrent with itself, nor with one of the same dot. */
export function areConcurrent(a: Dotted, b: Dotted): boolean {
  if (a.dot.actor === b.dot.actor && a.dot.counter === b.dot.counter) return false;
  return !supersedes(a, b) && !supersedes(b, a);
}

/**
 * The heads as the dots alone see them: the entries no other entry supersedes, sorted by id as text.
 * The graph is the authority; this is the check that both agree.
 */
export function headsByContext<Id extends string>(entries: readonly (Dotted & { readonly id: Id })[]): Id[] {
  const seen = entries.reduce<DotContext>((union, entry) => contextUnion(union, entry.context), emptyContext);
  return entries
    .filter((entry) => !contextHas(seen, entry.dot))
    .map((entry) => entry.id)
    .sort();
}
