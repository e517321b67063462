import type { DotContext } from './causality.ts';
import type { Dot, NodeId, VersionId } from './ids.ts';

/** One version as the graph sees it. */
export interface GraphEntry {
  readonly id: VersionId;
  readonly parents: readonly VersionId[];
  /** 1 + the parents' maximum, so every ancestor's is smaller. */
  readonly generation: number;
  readonly dot: Dot;
  readonly context: DotContext;
  readonly author: string;
  readonly node: NodeId;
}

/** The part of a head that decides which one is preferred. */
export interface Ranked {
  readonly id: VersionId;
  readonly generation: number;
}

/** Orders by (generation, id as text), ascending: parents before children, and the same on every node. */
export function compareHeads(a: Ranked, b: Ranked): number {
  return a.generation - b.generation || compareIds(a.id, b.id);
}

/**
 * The version graph of one object: immutable, and the authority on ancestry. It may hold versions whose parents
 * are not here; such parents are passed over by every walk, and `missingParents` names them.
 */
export class VersionGraph {
  readonly #entries: ReadonlyMap<VersionId, GraphEntry>;
  readonly #children: ReadonlyMap<VersionId, readonly VersionId[]>;

  private constructor(entries: ReadonlyMap<VersionId, GraphEntry>, children: Map<VersionId, VersionId[]>) {
    this.#entries = entries;
    this.#children = children;
  }

  /** The graph of these entries, in whatever order they come; an id that comes twice counts once. */
  static from(entries: Iterable<GraphEntry>): VersionGraph {
    const known = new Map<VersionId, GraphEntry>();
    const children = new Map<VersionId, VersionId[]>();
    for (const entry of entries) {
      if (known.has(entry.id)) continue;
      known.set(entry.id, entry);
      for (const parent of entry.parents) {
        const siblings = children.get(parent);
        if (siblings === undefined) children.set(parent, [entry.id]);
        else siblings.push(entry.id);
      }
    }
    for (const siblings of children.values()) siblings.sort(compareIds);
    return new VersionGraph(known, children);
  }

  get size(): number {
    return this.#entries.size;
  }

  has(id: VersionId): boolean {
    return this.#entries.has(id);
  }

  get(id: VersionId): GraphEntry | undefined {
    return this.#entries.get(id);
  }

  /** The versions that name `id` as a parent, sorted as text. */
  children(id: VersionId): readonly VersionId[] {
    return this.#children.get(id) ?? [];
  }

  /** The parents of `id` as its record names them, here or not; none for a version that is not here. */
  parents(id: VersionId): readonly VersionId[] {
    return this.#entries.get(id)?.parents ?? [];
  }

  /** The versions that no other one supersedes, sorted as text. */
  heads(): VersionId[] {
    return [...this.#entries.keys()].filter((id) => !this.#children.has(id)).sort(compareIds);
  }

  /** Parents that are named and not here, sorted as text. */
  missingParents(): VersionId[] {
    return [...this.#children.keys()].filter((id) => !this.#entries.has(id)).sort(compareIds);
  }

  /** Every version here, ordered by (generation, id): each after its parents. */
  topological(): GraphEntry[] {
    return [...this.#entries.values()].sort(compareHeads);
  }

  /** The ancestors of these versions that are here, the versions themselves not included unless one is another's ancestor. */
  ancestors(ids: Iterable<VersionId>): Set<VersionId> {
    const found = new Set<VersionId>();
    const open = [...ids];
    for (let id = open.pop(); id !== undefined; id = open.pop()) {
      for (const parent of this.parents(id)) {
        if (found.has(parent) || !this.#entries.has(parent)) continue;
        found.add(parent);
        open.push(parent);
      }
    }
    return found;
  }

  /** True when a path of parents leads from `descendant` to `ancestor`. A version is not its own ancestor. */
  isAncestor(ancestor: VersionId, descendant: VersionId): boolean {
    const target = this.#entries.get(ancestor);
    if (target === undefined || ancestor === descendant) return false;
    const seen = new Set<VersionId>();
    const open = [descendant];
    for (let id = open.pop(); id !== undefined; id = open.pop()) {
      if (id === ancestor) return true;
      const entry = this.#entries.get(id);
      // Nothing at or below the target's generation leads to it.
      if (entry === undefined || entry.generation <= target.generation || seen.has(id)) continue;
      seen.add(id);
      open.push(...entry.parents);
    }
    return false;
  }

  /**
   * The common ancestors of two versions (each counting as its own) that are no ancestor of another common one,
   * sorted as text: what a three-way merge compares with. None when the two share no history.
   */
  mergeBases(a: VersionId, b: VersionId): VersionId[] {
    if (!this.has(a) || !this.has(b)) return [];
    const ofA = this.ancestors([a]).add(a);
    const common = [...this.ancestors([b]).add(b)].filter((id) => ofA.has(id));
    const covered = this.ancestors(common);
    return common.filter((id) => !covered.has(id)).sort(compareIds);
  }
}

/**
 * The head every node shows first: the confirmed one if there is one, else the greatest by `compareHeads`.
 * Throws when there is neither: an object has at least one head.
 */
export function preferredHead(heads: readonly Ranked[], confirmed?: VersionId): VersionId {
  return confirmed ?? greatest(heads).id;
}

/**
 * What a write that names no parents extends: the preferred head, followed only through versions written by this
 * same principal at this same node. Where they branch, the greatest that can be reached so. Undefined for an
 * empty graph; a confirmed version that is not here does not count.
 */
export function tip(
  graph: VersionGraph,
  writer: { readonly author: string; readonly node: NodeId },
  confirmed?: VersionId,
): VersionId | undefined {
  const start = preferredIn(graph, confirmed);
  if (start === undefined) return undefined;
  const reached = new Map<VersionId, GraphEntry>([[start.id, start]]);
  const open = [start.id];
  for (let id = open.pop(); id !== undefined; id = open.pop()) {
    for (const child of graph.children(id)) {
      const entry = graph.get(child);
      if (entry === undefined || reached.has(child)) continue;
      if (entry.author !== writer.author || entry.node !== writer.node) continue;
      reached.set(child, entry);
      open.push(child);
    }
  }
  return greatest([...reached.values()]).id;
}

/** What the read mode `provisional_allowed` shows: the greatest head that is or descends from the preferred head. */
export function provisionalAllowed(graph: VersionGraph, confirmed?: VersionId): VersionId | undefined {
  const preferred = preferredIn(graph, confirmed);
  if (preferred === undefined) return undefined;
  const shown = headEntries(graph).filter(
    (head) => head.id === preferred.id || graph.isAncestor(preferred.id, head.id),
  );
  return greatest(shown).id;
}

/**
 * The heads after one more version, which is not here yet while all its parents are: the heads before, less its
 * parents, and itself; sorted as text.
 */
export function nextHeads(
  heads: readonly VersionId[],
  version: { readonly id: VersionId; readonly parents: readonly VersionId[] },
): VersionId[] {
  const superseded = new Set([version.id, ...version.parents]);
  return [...heads.filter((head) => !superseded.has(head)), version.id].sort(compareIds);
}

/** Versions that share one dot: a node was cloned, restored from a backup that went unnoticed, or lies. */
export interface DuplicateDot {
  readonly dot: Dot;
  /** Two or more, sorted as text. */
  readonly versions: readonly VersionId[];
}

/** Every dot that two or more of these versions carry, ordered by actor and counter. */
export function duplicateDots(entries: Iterable<{ readonly id: VersionId; readonly dot: Dot }>): DuplicateDot[] {
  const byDot = new Map<string, { dot: Dot; versions: Set<VersionId> }>();
  for (const { id, dot } of entries) {
    const name = `${dot.actor}/${dot.counter}`;
    const sharing = byDot.get(name);
    if (sharing === undefined) byDot.set(name, { dot, versions: new Set([id]) });
    else sharing.versions.add(id);
  }
  return [...byDot.values()]
    .filter(({ versions }) => versions.size > 1)
    .map(({ dot, versions }) => ({ dot, versions: [...versions].sort(compareIds) }))
    .sort((a, b) => compareIds(a.dot.actor, b.dot.actor) || a.dot.counter - b.dot.counter);
}

function preferredIn(graph: VersionGraph, confirmed: VersionId | undefined): GraphEntry | undefined {
  const entry = confirmed === undefined ? undefined : graph.get(confirmed);
  if (entry !== undefined) return entry;
  const heads = headEntries(graph);
  return heads.length === 0 ? undefined : greatest(heads);
}

function headEntries(graph: VersionGraph): GraphEntry[] {
  return graph.heads().flatMap((id) => graph.get(id) ?? []);
}

function greatest<R extends Ranked>(versions: readonly R[]): R {
  return versions.reduce((best, version) => (compareHeads(version, best) > 0 ? version : best));
}

/** Ids are ASCII, so the order of JavaScript strings is the order of their bytes. */
function compareIds(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
