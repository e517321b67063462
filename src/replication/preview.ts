import type { BlobHash, NodeId } from '../../crdt/ids.ts';
import type { PlacementLack, PlacementNode } from '../../crdt/placement.ts';
import type { PlacementMap } from './placement-map.ts';
import type { Subject } from './subject.ts';

/** Something that may happen to the mesh, to see beforehand what it would move. */
export type MeshChange =
  | { readonly kind: 'leave' | 'drain'; readonly nodeId: NodeId }
  | { readonly kind: 'join'; readonly node: PlacementNode }
  | { readonly kind: 'labels'; readonly nodeId: NodeId; readonly labels: Readonly<Record<string, string>> }
  | { readonly kind: 'capacity'; readonly nodeId: NodeId; readonly weight: number };

/** The content of one version that would move. */
interface Move {
  readonly subject: Subject;
  /** Desired holders that would be none any more. */
  readonly from: readonly NodeId[];
  /** Nodes that would become desired holders, and have the content to fetch. */
  readonly to: readonly NodeId[];
  /** What of the policy could not be met afterwards. */
  readonly lacks: readonly PlacementLack[];
}

/** What one node would gain and give up. */
interface NodeMoves {
  readonly contentsIn: number;
  readonly bytesIn: number;
  readonly contentsOut: number;
  readonly bytesOut: number;
}

export interface MovePage {
  /** The first of them, at most as many as were asked for. */
  readonly moves: readonly Move[];
  /** Over the whole page. */
  readonly totals: {
    readonly subjects: number;
    readonly moved: number;
    /** Copies that would be made, and their bytes. */
    readonly copies: number;
    readonly bytes: number;
    /** Subjects whose policy could not be met afterwards. */
    readonly degraded: number;
    readonly nodes: ReadonlyMap<NodeId, NodeMoves>;
  };
  /** The last subject looked at, when there may be more after it. */
  readonly next: Subject | undefined;
}

export interface PreviewView {
  readonly before: PlacementMap;
  readonly after: PlacementMap;
  /** Whether a node has a content already, as far as is known. */
  readonly holds: (node: NodeId, manifest: BlobHash) => boolean;
}

export interface PreviewBounds {
  /** Subjects looked at for one page. */
  readonly subjectsMax: number;
  /** Moves listed of them. */
  readonly movesMax: number;
}

/** The nodes that content can be placed on after a change. */
export function nodesAfter(nodes: readonly PlacementNode[], change: MeshChange): readonly PlacementNode[] {
  switch (change.kind) {
    case 'leave':
    case 'drain':
      return nodes.filter(({ nodeId }) => nodeId !== change.nodeId);
    case 'join':
      return [...nodes.filter(({ nodeId }) => nodeId !== change.node.nodeId), change.node];
    case 'labels':
      return nodes.map((node) => (node.nodeId === change.nodeId ? { ...node, labels: change.labels } : node));
    case 'capacity':
      return nodes.map((node) => (node.nodeId === change.nodeId ? { ...node, weight: change.weight } : node));
  }
}

/**
 * What would move of these subjects: a page of them. Memory is bounded by the page and the nodes; who wants more asks
 * again with the subjects after `next`.
 */
export function previewMoves(view: PreviewView, subjects: Iterable<Subject>, bounds: PreviewBounds): MovePage {
  const preview = new MovePreview(view, bounds);
  for (const subject of subjects) {
    preview.add(subject);
    if (preview.isFull) break;
  }
  return preview.page();
}

/** Makes a page subject by subject. */
export class MovePreview {
  readonly #view: PreviewView;
  readonly #bounds: PreviewBounds;
  readonly #tally = new Tally();
  readonly #moves: Move[] = [];
  #last: Subject | undefined;

  constructor(view: PreviewView, bounds: PreviewBounds) {
    this.#view = view;
    this.#bounds = bounds;
  }

  /** True when the page takes no more. */
  get isFull(): boolean {
    return this.#tally.subjects >= this.#bounds.subjectsMax;
  }

  add(subject: Subject): void {
    const { before, after, holds } = this.#view;
    const { ns, key, manifest } = subject;
    const former = before.desired(ns, key).holders;
    const { holders, lacks } = after.desired(ns, key);
    const to = holders.filter((node) => !former.includes(node) && !holds(node, manifest));
    const from = former.filter((node) => !holders.includes(node));
    this.#last = subject;
    this.#tally.add(subject, { from, to, isDegraded: lacks.length > 0 });
    const isMove = from.length > 0 || to.length > 0;
    if (isMove && this.#moves.length < this.#bounds.movesMax) this.#moves.push({ subject, from, to, lacks });
  }

  page(): MovePage {
    return { moves: this.#moves, totals: this.#tally.totals(), next: this.isFull ? this.#last : undefined };
  }
}

class Tally {
  subjects = 0;
  #moved = 0;
  #copies = 0;
  #bytes = 0;
  #degraded = 0;
  readonly #nodes = new Map<NodeId, { contentsIn: number; bytesIn: number; contentsOut: number; bytesOut: number }>();

  add(
    { sizeBytes }: Subject,
    {
      from,
      to,
      isDegraded,
    }: { readonly from: readonly NodeId[]; readonly to: readonly NodeId[]; readonly isDegraded: boolean },
  ): void {
    this.subjects += 1;
    if (isDegraded) this.#degraded += 1;
    if (from.length > 0 || to.length > 0) this.#moved += 1;
    this.#copies += to.length;
    this.#bytes += to.length * sizeBytes;
    for (const node of to) {
      const moves = this.#of(node);
      moves.contentsIn += 1;
      moves.bytesIn += sizeBytes;
    }
    for (const node of from) {
      const moves = this.#of(node);
      moves.contentsOut += 1;
      moves.bytesOut += sizeBytes;
    }
  }

  totals(): MovePage['totals'] {
    return {
      subjects: this.subjects,
      moved: this.#moved,
      copies: this.#copies,
      bytes: this.#bytes,
      degraded: this.#degraded,
      nodes: this.#nodes,
    };
  }

  #of(node: NodeId): { contentsIn: number; bytesIn: number; contentsOut: number; bytesOut: number } {
    const known = this.#nodes.get(node) ?? { contentsIn: 0, bytesIn: 0, contentsOut: 0, bytesOut: 0 };
    this.#nodes.set(node, known);
    return known;
  }
}
