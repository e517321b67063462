import fc from 'fast-check';
import type { VersionId } from '../../crdt/ids.ts';
import type { Version } from '../../crdt/version.ts';
import { actorOf, contentOf, type TestNode, testNode, write } from './versions.ts';

/** One write of a random history, in numbers that are read modulo what there is to choose from. */
interface Step {
  readonly node: number;
  readonly author: number;
  /** A clone shares its node's actor and does not know what counters the other one used. */
  readonly clone: boolean;
  /** The node restarts uncleanly first, and takes a new actor. */
  readonly restart: boolean;
  readonly kind: 'put' | 'delete';
  /** Versions the write names, old ones too; none for a blind write. */
  readonly parents: readonly number[];
  /** A blind write extends what this node sees as the greatest head of what it has, or starts anew. */
  readonly anew: boolean;
}

/** A history, and what an oracle that follows parents by brute force knows of it. */
export interface RandomHistory {
  /** In the order they were written. */
  readonly versions: readonly Version[];
  /** All ancestors of each version, itself not included. */
  readonly ancestors: ReadonlyMap<VersionId, ReadonlySet<VersionId>>;
}

const nodes: readonly TestNode[] = ['north', 'east', 'south'].map(testNode);
const authors = ['admin', 'ada', 'grace'];

const step = (withClones: boolean, restartShare: number): fc.Arbitrary<Step> =>
  fc.record({
    node: fc.nat(nodes.length - 1),
    author: fc.nat(authors.length - 1),
    clone: withClones ? fc.boolean() : fc.constant(false),
    restart: fc.integer({ min: 0, max: 9 }).map((n) => n < 10 * restartShare),
    kind: fc.constantFrom('put', 'put', 'put', 'delete'),
    parents: fc.array(fc.nat(1_000), { maxLength: 5 }),
    anew: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
  });

/**
 * Histories of one object: several writers on each of three nodes, first writes, blind writes, branches off old
 * versions, merges of anything, deletes and unclean restarts, each of which retires an actor. With `clones`, copies of nodes issue
 * dots twice. `restartShare` of the writes, a tenth when absent, are the first of a new actor.
 */
export function randomHistory(options: {
  readonly stepsMax: number;
  readonly clones?: boolean;
  readonly restartShare?: number;
}): fc.Arbitrary<RandomHistory> {
  return fc
    .array(step(options.clones ?? false, options.restartShare ?? 0.1), {
      minLength: 1,
      maxLength: options.stepsMax,
      size: 'max',
    })
    .map(play);
}

function play(steps: readonly Step[]): RandomHistory {
  const versions: Version[] = [];
  const ancestors = new Map<VersionId, ReadonlySet<VersionId>>();
  const isAncestor = (elder: VersionId, younger: VersionId): boolean => ancestors.get(younger)?.has(elder) ?? false;
  const incarnations = new Map<number, number>();
  const counters = new Map<string, number>();
  for (const [at, { node: nodeAt, author, clone, restart, kind, anew, ...choice }] of steps.entries()) {
    const node = nodes[nodeAt] as TestNode;
    if (restart) incarnations.set(nodeAt, (incarnations.get(nodeAt) ?? 1) + 1);
    const actor = actorOf(node, incarnations.get(nodeAt) ?? 1);
    const parents = anew ? [] : chooseParents(versions, choice.parents, isAncestor);
    const life = `${actor} ${clone}`;
    const seen = parents.map(({ record, context }) =>
      Math.max(context.get(actor)?.at(-1)?.[1] ?? 0, record.dot.actor === actor ? record.dot.counter : 0),
    );
    const counter = Math.max(counters.get(life) ?? 0, ...seen) + 1;
    counters.set(life, counter);
    const version = write(
      node,
      parents,
      {
        kind,
        dot: { actor, counter },
        content: kind === 'delete' ? null : contentOf(`text ${at}`),
        author: authors[author] as string,
        time: at,
      },
      isAncestor,
    );
    versions.push(version);
    ancestors.set(version.id, new Set(parents.flatMap((parent) => [parent.id, ...(ancestors.get(parent.id) ?? [])])));
  }
  return { versions, ancestors };
}

function chooseParents(
  versions: readonly Version[],
  choices: readonly number[],
  isAncestor: (elder: VersionId, younger: VersionId) => boolean,
): Version[] {
  if (versions.length === 0) return [];
  const chosen = choices.length === 0 ? [versions.length - 1] : choices.map((choice) => choice % versions.length);
  const named = [...new Set(chosen)].map((at) => versions[at] as Version);
  return named.filter(({ id }) => !named.some((other) => isAncestor(id, other.id)));
}

/** One of the orders in which versions can arrive with parents first, told apart by `seed`. */
export function arrivalOrder(versions: readonly Version[], seed: number): Version[] {
  const draw = drawsFrom(seed);
  const waiting = [...versions];
  const arrived = new Set<VersionId>();
  const order: Version[] = [];
  while (waiting.length > 0) {
    const ready = waiting.filter(({ record }) => record.parents.every((parent) => arrived.has(parent)));
    const next = ready[Math.floor(draw() * ready.length)] as Version;
    waiting.splice(waiting.indexOf(next), 1);
    arrived.add(next.id);
    order.push(next);
  }
  return order;
}

/** The same values in another order. */
export function shuffled<T>(values: readonly T[], seed: number): T[] {
  const draw = drawsFrom(seed);
  return values
    .map((value) => ({ value, rank: draw() }))
    .sort((a, b) => a.rank - b.rank)
    .map(({ value }) => value);
}

/** Numbers in [0, 1) that follow from a seed (mulberry32). */
function drawsFrom(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
