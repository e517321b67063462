import type { BlobHash, NodeId, VersionId } from '../../crdt/ids.ts';

/** What the mesh has promised to its clients, and what no one can hold it to. */
export class Ledger {
  /** Acknowledged versions and the node that answered. */
  readonly acknowledged = new Map<VersionId, string>();
  /**
   * Versions, and contents by their manifest, whose every sound copy was on a disk that was rolled back, wiped or
   * rotted: the exception that invariant 1 names. They may survive all the same.
   */
  readonly excusedVersions = new Set<VersionId>();
  readonly excusedContents = new Set<BlobHash>();
  /** Nodes that a script has lie about what they hold. */
  readonly liars = new Set<NodeId>();
}
