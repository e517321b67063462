import type { VersionId } from './ids.ts';

/** What the walk needs to know of a version: its parents, and a generation greater than any parent's. */
export interface GraphLink {
  readonly parents: readonly VersionId[];
  readonly generation: number;
}

interface Reached {
  readonly id: VersionId;
  readonly link: GraphLink;
  /** Reached from something the other side has, so it has this too. */
  had: boolean;
}

/**
 * The versions reachable from `heads` and not from `have`, parents first by (generation, id): what a peer
 * that holds `have` and its ancestors must be sent. Ids in `have` that `lookup` does not know are passed over.
 *
 * @param lookup gives a version's parents and generation, or undefined when it is not held
 */
export function missingVersions(
  heads: readonly VersionId[],
  have: readonly VersionId[],
  lookup: (id: VersionId) => GraphLink | undefined,
): VersionId[] {
  return [...walkMissing(heads, have, lookup)].filter((id) => id !== null).reverse();
}

/**
 * What `missingVersions` gives, in the opposite order and as it is found, with a null for every version that was come
 * across and that the other side has: who walks a long history can rest after any of them. What is remembered meanwhile
 * is only where the walk goes on.
 *
 * Both sets are walked together from the greatest generation down, the way git finds merge bases, so the
 * cost is the region where the two sides differ and not the whole history. The graph alone decides: a dot
 * that a hostile node issued twice cannot hide a version.
 */
export function* walkMissing(
  heads: readonly VersionId[],
  have: readonly VersionId[],
  lookup: (id: VersionId) => GraphLink | undefined,
): Generator<VersionId | null> {
  const reached = new Map<VersionId, Reached>();
  const frontier = new GenerationQueue();
  let wantedInFrontier = 0;

  const reach = (id: VersionId, had: boolean): void => {
    const known = reached.get(id);
    if (known !== undefined) {
      if (had && !known.had) {
        known.had = true;
        wantedInFrontier -= 1;
      }
      return;
    }
    const link = lookup(id);
    if (link === undefined) return;
    const entry: Reached = { id, link, had };
    reached.set(id, entry);
    frontier.push(entry);
    if (!had) wantedInFrontier += 1;
  };

  for (const id of have) reach(id, true);
  for (const id of heads) reach(id, false);

  // A version is taken off only after every descendant of it that was reached, so `had` is final here, and nothing
  // reaches it any more.
  while (wantedInFrontier > 0) {
    const entry = frontier.pop();
    if (entry === undefined) break;
    reached.delete(entry.id);
    if (!entry.had) wantedInFrontier -= 1;
    for (const parent of entry.link.parents) reach(parent, entry.had);
    yield entry.had ? null : entry.id;
  }
}

/**
 * True when `ancestor` can be reached from `descendant` through parents. It looks only at versions of a greater
 * generation than the ancestor's, so the cost is what lies between the two.
 */
export function isReachable(
  ancestor: VersionId,
  descendant: VersionId,
  lookup: (id: VersionId) => GraphLink | undefined,
): boolean {
  const floor = lookup(ancestor)?.generation;
  if (floor === undefined) return false;
  const seen = new Set<VersionId>([descendant]);
  const stack = [descendant];
  for (let id = stack.pop(); id !== undefined; id = stack.pop()) {
    const link = lookup(id);
    if (link === undefined || link.generation <= floor) continue;
    for (const parent of link.parents) {
      if (parent === ancestor) return true;
      if (seen.has(parent)) continue;
      seen.add(parent);
      stack.push(parent);
    }
  }
  return false;
}

/** A binary heap whose top is the greatest (generation, id). */
class GenerationQueue {
  readonly #heap: Reached[] = [];

  push(entry: Reached): void {
    const heap = this.#heap;
    let at = heap.push(entry) - 1;
    while (at > 0) {
      const above = (at - 1) >> 1;
      const parent = heap[above] as Reached;
      if (!isGreater(entry, parent)) break;
      heap[at] = parent;
      at = above;
    }
    heap[at] = entry;
  }

  pop(): Reached | undefined {
    const heap = this.#heap;
    const top = heap[0];
    const last = heap.pop();
    if (top === undefined || last === undefined || heap.length === 0) return top;
    let at = 0;
    for (;;) {
      let below = 2 * at + 1;
      if (below >= heap.length) break;
      const right = heap[below + 1];
      if (right !== undefined && isGreater(right, heap[below] as Reached)) below += 1;
      const child = heap[below] as Reached;
      if (!isGreater(child, last)) break;
      heap[at] = child;
      at = below;
    }
    heap[at] = last;
    return top;
  }
}

function isGreater(left: Reached, right: Reached): boolean {
  if (left.link.generation !== right.link.generation) return left.link.generation > right.link.generation;
  return left.id > right.id;
}
