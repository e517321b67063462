import type { Certificate } from '../../crdt/certificate.ts';
import type { Checkpoint } from '../../crdt/control/checkpoint.ts';
import type { ControlEntry } from '../../crdt/control/entry.ts';
import type { EffectivePolicy, NamespacePolicy } from '../../crdt/control/namespace-policy.ts';
import type { CarryStatus } from '../control/carry-over.ts';
import type { ControlStatus } from '../control/control-log.ts';
import type { LogProof } from '../control/control-store.ts';
import type { MembershipStatus } from '../control/membership.ts';
import type { AskedOperation } from '../control/operation-ids.ts';
import type { Outcome } from './api.ts';

export type { AskedOperation, CarryStatus, Checkpoint, ControlStatus, MembershipStatus, NamespacePolicy };

/** An admin call: what to do, who asks and why. */
export interface ChangeInput {
  readonly operation: AskedOperation;
  /** The principal. */
  readonly actor: string;
  /** In the principal's words; may be empty. */
  readonly reason?: string;
  /** 26 to 64 characters of base32: the same call under the same id is done once. Drawn when absent. */
  readonly operationId?: string;
  readonly signal?: AbortSignal;
}

/** A change that is in the control log. */
export interface CommittedChange {
  readonly seq: number;
  readonly hash: string;
  readonly operationId: string;
}

export interface LoggedEntry {
  readonly seq: number;
  /** BLAKE3 of the entry's canonical JSON, in base32. */
  readonly hash: string;
  readonly entry: ControlEntry;
  readonly certificate: Certificate;
}

export interface LogListing {
  /** In order, from 1: entry 0 is the genesis, which has its own format. */
  readonly entries: readonly LoggedEntry[];
  /** Pass as `after` for the next page; null at the end. */
  readonly next: number | null;
}

/** That an entry is in the tree of the first `size` entries. */
export interface InclusionProof extends LogProof {
  readonly seq: number;
  readonly hash: string;
}

/** That the tree of the first `size` entries only adds to that of the first `first`. */
export interface ConsistencyProof extends LogProof {
  readonly first: number;
}

export interface NamespaceInfo {
  readonly ns: string;
  /** As it was set; empty when nothing was. */
  readonly policy: NamespacePolicy;
  /** With the defaults of what it leaves open. */
  readonly effective: EffectivePolicy;
}

export interface ScopeConfiguration {
  readonly scope: string;
  readonly values: Readonly<Record<string, unknown>>;
}

/** What the cluster as a whole has decided, and the only way to decide more. */
export interface ClusterApi {
  /**
   * Does an operation. Refused with the fold's code (then nothing was changed; `carry_over_running` has a `progress` of
   * `{epoch, done, total}` in its detail where that could be learnt), with `quorum_unavailable` at once when no majority
   * can be reached (nothing was changed), or with `unknown_outcome`: the same call with the operation id of its detail
   * tells what became of it.
   */
  change(input: ChangeInput): Promise<Outcome<CommittedChange>>;
  entries(input: { readonly after?: number; readonly limit?: number }): LogListing;
  /** The genesis entry's text, exactly. */
  genesis(): string;
  checkpoint(): Checkpoint;
  /** `not_found` when there are no such entries. */
  proof(input: { readonly seq: number; readonly size?: number }): Outcome<InclusionProof>;
  consistency(input: { readonly first: number; readonly size?: number }): Outcome<ConsistencyProof>;
  /** Those with a policy, by name. */
  namespaces(): readonly NamespaceInfo[];
  /** `invalid_namespace` for a name that none can have. */
  namespace(ns: string): Outcome<NamespaceInfo>;
  /** Those that have any, by name. */
  configuration(): readonly ScopeConfiguration[];
  /** No values when none are set; `invalid_request` for a scope that none can be. */
  configurationOf(scope: string): Outcome<ScopeConfiguration>;
  /** `quorum_unavailable` when no coordinator can be asked; resolves within some seconds. */
  carryOver(): Promise<Outcome<CarryStatus>>;
}
