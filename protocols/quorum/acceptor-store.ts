import type { Certificate } from '../../crdt/certificate.ts';
import type { NodeId } from '../../crdt/ids.ts';
import type { AcceptorState } from '../../crdt/quorum/acceptor.ts';

/** What a coordinator must never forget, and nothing else. */
export interface AcceptorStore {
  /**
   * Runs `change` as one atomic transaction, one at a time, and resolves with its result once the transaction is
   * flushed: no answer may go out before. Rejects with `MeshError` `disk_full` or `io_error`, nothing written.
   */
  transact<T>(change: (transaction: AcceptorTransaction) => T): Promise<T>;
  /** The greatest vote sequence heard of each coordinator, and whether it was caught going backwards. */
  heardVotes(): ReadonlyMap<NodeId, HeardVotes>;
  /** The number of the last batch this node answered; 0 before the first. */
  sequence(): number;
  /** True once this node has learned that it forgot votes. */
  restored(): boolean;
}

/** What is remembered of another coordinator's vote sequence. */
export interface HeardVotes {
  /** The greatest that one of its answers had. */
  readonly sequence: number;
  /** The greatest that it named of itself when it asked for votes; left out before the first. */
  readonly told?: number;
  /** It went backwards once: this coordinator has forgotten votes, and is not asked again under this node id. */
  readonly restored: boolean;
}

/** A page of registers. */
export interface ListedRegisters {
  readonly registers: (readonly [string, boolean])[];
  readonly through: string | null;
}

/** One transaction on an `AcceptorStore`; reads see its own writes. */
export interface AcceptorTransaction {
  /** The highest epoch this node was shown with proof; 0 before the first. */
  readonly epoch: number;
  raiseEpoch(epoch: number): void;
  /** The number of the last batch that was answered; 0 before the first. */
  readonly sequence: number;
  setSequence(sequence: number): void;
  /** True once this node has learned that it forgot votes: it gives no more. */
  readonly restored: boolean;
  markRestored(): void;
  state(register: string): AcceptorState;
  setState(register: string, state: AcceptorState): void;
  /**
   * Registers with an accepted value after a name, in the order of their names, and whether each was accepted in this
   * epoch. Looks at a bounded number of rows: `through` is the last one looked at, null when there are no more.
   */
  listAccepted(epoch: number, after: string | null, limit: number): ListedRegisters;
  setHeard(nodeId: NodeId, heard: HeardVotes): void;
  /**
   * True when this transaction sees what the register's head names. It is never on disk without what it has seen, so a
   * vote may be written with it.
   */
  holds(register: string, head: string): boolean;
  /**
   * Keeps a certificate in this transaction, with the vote that completes it; it is told of once that is on disk. False for
   * a register whose certificates cannot be kept so.
   */
  certify(certificate: Certificate): boolean;
}
