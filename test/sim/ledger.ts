import type { BlobHash, NodeId, VersionId } from '../../crdt/ids.ts';
import type { RefusalCode } from '../../src/node/api.ts';

/** What an administrator was told of an operation; of one whose outcome was not known, neither. */
export interface ChangeAnswer {
  readonly operationId: string;
  /** The node that answered. */
  readonly through: string;
  readonly committed?: { readonly seq: number; readonly hash: string };
  /** Why it was refused. */
  readonly refused?: RefusalCode;
}

/** What the mesh has promised to its clients, and what no one can hold it to. */
export class Ledger {
  /** Acknowledged versions and the node that answered. */
  readonly acknowledged = new Map<VersionId, string>();
  /** Those of them that were called confirmed. */
  readonly confirmed = new Set<VersionId>();
  /** Contents, by their BLAKE3 in hex, of writes that asked to be confirmed at once: that does not wait for copies. */
  readonly hurried = new Set<string>();
  /**
   * Versions, and contents by their manifest, whose every sound copy was on a disk that was rolled back, wiped or
   * rotted: the exception that invariant 1 names. They may survive all the same.
   */
  readonly excusedVersions = new Set<VersionId>();
  readonly excusedContents = new Set<BlobHash>();
  /** What nodes answered to who changed the cluster through them. */
  readonly changes: ChangeAnswer[] = [];
  /** Nodes that a script has lie about what they hold. */
  readonly liars = new Set<NodeId>();
}
