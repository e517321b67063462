import type { BlobHash, NodeId } from '../../crdt/ids.ts';

/** Contents of which proofs are remembered; the oldest are forgotten first, and proved again when somebody asks. */
const contentsMax = 65_536;

const nobody: ReadonlySet<NodeId> = new Set();

/** Which members have proved a content to this node since it started. */
export class ProvedCopies {
  readonly #nodes = new Map<BlobHash, Set<NodeId>>();
  /** Whoever has proved anything and is not forgotten. */
  readonly #provers = new Set<NodeId>();
  readonly #listeners = new Set<(manifest: BlobHash, node: NodeId) => void>();

  of(manifest: BlobHash): ReadonlySet<NodeId> {
    return this.#nodes.get(manifest) ?? nobody;
  }

  add(manifest: BlobHash, node: NodeId): void {
    const nodes = this.#nodes.get(manifest) ?? new Set<NodeId>();
    this.#nodes.delete(manifest);
    this.#nodes.set(manifest, nodes.add(node));
    this.#provers.add(node);
    for (const oldest of this.#nodes.keys()) {
      if (this.#nodes.size <= contentsMax) break;
      this.#nodes.delete(oldest);
    }
    for (const listener of this.#listeners) listener(manifest, node);
  }

  /** Forgets what nodes have proved that are members no more: nobody asks them again, and their copies back nothing. */
  keepOnly(members: { has(node: NodeId): boolean }): void {
    const left = [...this.#provers].filter((node) => !members.has(node));
    if (left.length === 0) return;
    for (const node of left) this.#provers.delete(node);
    for (const [manifest, nodes] of this.#nodes) {
      for (const node of left) nodes.delete(node);
      if (nodes.size === 0) this.#nodes.delete(manifest);
    }
  }

  onAdded(listener: (manifest: BlobHash, node: NodeId) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
