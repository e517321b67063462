import type { Certificate, CertificateSigner, RegisterValue } from '../../crdt/certificate.ts';
import type { ClusterId, PeerId } from '../../crdt/ids.ts';
import type { RegisterRefusal, Verdict } from '../../crdt/quorum/proposer.ts';

/** A coordinator: who votes, and where it is reached. */
export interface Coordinator extends CertificateSigner {
  readonly peerId: PeerId;
}

/** Who votes now, as far as this node has proof. */
export interface QuorumView {
  readonly cluster: ClusterId;
  /** From 1; raised by one with each change of the coordinators. */
  readonly epoch: number;
  readonly coordinators: readonly Coordinator[];
  /** What was chosen in earlier epochs has been carried over into this one, as far as this node has seen to it itself. */
  readonly carried: boolean;
  /** The control-log entry up to which this is known. */
  readonly logSeq: number;
}

/** What a kind of register adds to the engine: objects are one, the control log is the other. */
export interface RegisterKind {
  /**
   * What a candidate is to the current value (null for an empty register). `accept` when it may come next, `held` when
   * it is the current head or one of its ancestors. Called only when `hold` has said true of both.
   */
  check(register: string, current: RegisterValue | null, candidate: string): Verdict;
  /**
   * Durably has what the value's head names, fetching it from `from` when need be. False when it cannot be had, or can
   * never be valid; a vote for it is not given then.
   */
  hold(register: string, value: RegisterValue, from: PeerId, signal: AbortSignal): Promise<boolean>;
  /** What a head names, so that others need not ask for it; undefined when it is not here. A kind without it encloses nothing. */
  enclose?(head: string): Enclosed | undefined;
  /**
   * Takes in what came enclosed with heads of this kind, as far as it can be. Faults of one leave the others alone; what
   * could not be taken in is asked for by `hold`. Resolves once the store has it, though not on disk yet; rejects only as
   * this node's disk does.
   */
  takeIn?(heads: readonly EnclosedHead[], from: PeerId): Promise<TakenIn>;
  /**
   * True of a head of this register that was taken in and is on its way to disk: transactions that are asked for from now on
   * come after it, as `TakenIn.heads` has it. `hold` waits until it is there. Never true of a kind without it.
   */
  isArriving?(register: string, head: string): boolean;
}

/** What was enclosed and taken in, on its way to disk. */
export interface TakenIn {
  /**
   * Heads that are in the store, with all that they name. Transactions that are asked for from now on come after them;
   * whether one does see a head, `AcceptorTransaction.holds` says, since the disk may fail in between.
   */
  readonly heads: ReadonlySet<string>;
  /** Resolves once they are durable. Rejects as this node's disk does. */
  readonly flushed: Promise<void>;
}

/** What a head names, in parts that its kind knows to read. */
export type Enclosed = readonly Uint8Array[];

/** A head, and what came with it. */
export interface EnclosedHead {
  readonly head: string;
  readonly enclosed: Enclosed;
}

/** The certificates a node has. */
export interface CertificateBook {
  /** The one of the highest position that is known of a register, and durable. */
  latest(register: string): Certificate | null;
  /** True when it holds for the coordinators of its epoch; false when that epoch is not known here (yet). */
  verify(certificate: Certificate): boolean;
  /** Takes in a certificate that holds; resolves once it is durable. One of a lower position than the latest changes nothing. */
  keep(certificate: Certificate): Promise<void>;
}

/** Why no answer can be given now. But for `no_majority`, the candidate may be confirmed later all the same, by this attempt even. */
export type UnavailableReason =
  /** Fewer than a majority of the coordinators are connected, so nobody was asked to vote for it. */
  | 'no_majority'
  /** Coordinators were asked to vote for it, and it is not known how a majority answered. */
  | 'lost'
  /** The time that was allowed is over. */
  | 'deadline'
  /** Too many are waiting. */
  | 'busy'
  /** What the head names could not be had. */
  | 'missing'
  /** The other side knows of a later epoch than this node, or of an earlier one. */
  | 'epoch';

/** How a proposal ended. */
export type Outcome =
  /** The candidate is the head this certificate proves, or an ancestor of it. */
  | { readonly kind: 'confirmed'; readonly certificate: Certificate }
  /** It can never follow the head that this certificate proves (null for an empty register). */
  | {
      readonly kind: 'refused';
      readonly refusal: RegisterRefusal;
      readonly certificate: Certificate | null;
      /** Another coordinator was asked before and did not say how it ended there: that one may have accepted the candidate. */
      readonly open?: true;
    }
  /** `quorum_unavailable`. */
  | { readonly kind: 'unavailable'; readonly reason: UnavailableReason };
