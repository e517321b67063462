import type { Member } from '../../../crdt/genesis.ts';
import type { BlobHash, ClusterId, DocId, NodeId, VersionId } from '../../../crdt/ids.ts';
import type { KvKey, KvReader } from '../../../src/ports/kv.ts';
import type { PlacementMap } from '../../../src/replication/placement-map.ts';
import type { Ledger } from '../ledger.ts';
import type { Machine } from '../machine.ts';
import type { KnownVersion, VersionLibrary } from '../version-library.ts';

/** What a checker sees of a run. */
export interface World {
  readonly cluster: ClusterId;
  readonly genesisText: string;
  readonly machines: ReadonlyMap<string, Machine>;
  readonly members: readonly Member[];
  readonly library: VersionLibrary;
  readonly ledger: Ledger;
  /** Members that no node runs for and that keep no rule. */
  readonly hostile: ReadonlySet<NodeId>;
  /** Versions that these asked to be confirmed. */
  readonly askedForByHostile: ReadonlySet<VersionId>;
  /** True when slots are placed, so that nodes hold different ones. */
  readonly isPlaced: boolean;
  /** The machines that are to hold a document: all of them, where slots are not placed. */
  holdersOf(doc: DocId): readonly Machine[];
  /** Where content is to be, by the longest control log there is; undefined before the first node has started. */
  contentPlacement(): PlacementMap | undefined;
  /** The machines that are to hold the content of an object once everybody sees who has left for good. */
  contentHoldersOf(object: { readonly ns: string; readonly key: string }): readonly Machine[];
  /** For how long a node is offline until others stand in for it, in milliseconds. */
  readonly repairDelayMs: number;
  /** Virtual time, in milliseconds. */
  nowMs(): number;
  /** Lets virtual time pass until the promise is settled. */
  run<T>(promise: Promise<T>): Promise<T>;
}

/** A committed transaction of one node. */
export interface Commit {
  readonly machine: Machine;
  readonly store: KvReader;
  readonly keys: readonly KvKey[];
  /** Versions that were not held before. */
  readonly added: readonly KnownVersion[];
  /** Objects whose row was written. */
  readonly docs: ReadonlySet<DocId>;
  /** Contents that were whole here until then and that the node gave up, by their manifests. */
  readonly dropped: readonly BlobHash[];
  /** Contents that were not whole here until then and are so now. */
  readonly gained: readonly BlobHash[];
}

/** Says what is wrong. The run ends with the first such sentence. */
export type Violate = (message: string) => void;

/** One invariant. Local parts are called at every step, global ones at every quiet point. */
export interface Checker {
  /** A version no node of the run had stored before. */
  learned?(known: KnownVersion, violate: Violate): void;
  /** After every transaction of every node, and seeing its result. */
  committed?(commit: Commit, violate: Violate): void;
  /** Bytes are being handed to a node's blob store under this name. */
  stored?(machine: Machine, hash: BlobHash, bytes: Uint8Array, violate: Violate): void;
  /** A client was given all bytes of a version by a node. */
  served?(machine: Machine, known: KnownVersion, bytes: Uint8Array, violate: Violate): void;
  /** A process has ended, well or not, and the disk is what the next one will find. */
  ended?(machine: Machine, violate: Violate): void;
  /** All nodes are up and in step. */
  quiet?(violate: Violate): void | Promise<void>;
}

/** Makes a checker for one run, under the name that its violations carry. */
export interface CheckerFactory {
  readonly name: string;
  create(world: World): Checker;
}
