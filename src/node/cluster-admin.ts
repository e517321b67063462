import { effectivePolicy } from '../../crdt/control/namespace-policy.ts';
import { checkScope } from '../../crdt/control/operations.ts';
import type { ControlRefusal } from '../../crdt/control-log.ts';
import { ok } from '../../crdt/ids.ts';
import { checkNamespace } from '../../crdt/object-name.ts';
import type { ControlLog } from '../control/control-log.ts';
import type { SubmitOutcome } from '../control/submitter.ts';
import type { Checkpoint, Outcome, RefusalCode } from './api.ts';
import type {
  CarryStatus,
  ChangeInput,
  ClusterApi,
  CommittedChange,
  ConsistencyProof,
  InclusionProof,
  LoggedEntry,
  LogListing,
  NamespaceInfo,
  ScopeConfiguration,
} from './cluster-api.ts';
import { refuse } from './refusals.ts';

/** Entries on one page: with certificates, some 250 KiB of ordinary ones. */
const entriesPerPageDefault = 100;
/** Text past which a page ends early. */
const pageBytes = 4 * 1_048_576;

/** The control log as the node's public face shows it. */
export class ClusterAdmin implements ClusterApi {
  readonly #control: ControlLog;
  readonly #genesisText: string;

  constructor(control: ControlLog, genesisText: string) {
    this.#control = control;
    this.#genesisText = genesisText;
  }

  async change({ operation, actor, reason = '', operationId, signal }: ChangeInput): Promise<Outcome<CommittedChange>> {
    const outcome = await this.#control.submit({
      operations: [operation],
      actor,
      reason,
      ...(operationId === undefined ? {} : { operationId }),
      ...(signal === undefined ? {} : { signal }),
    });
    return changeOf(outcome);
  }

  entries({ after = 0, limit = entriesPerPageDefault }: { after?: number; limit?: number }): LogListing {
    const entries: LoggedEntry[] = [];
    let bytes = 0;
    for (const { entry, certificate } of this.#control.entriesAfter(after, limit)) {
      entries.push({ seq: entry.entry.seq, hash: entry.hash, entry: entry.entry, certificate });
      bytes += entry.text.length;
      if (bytes >= pageBytes) break;
    }
    const last = entries.at(-1)?.seq;
    return { entries, next: last === undefined || last >= this.#control.state().seq ? null : last };
  }

  genesis(): string {
    return this.#genesisText;
  }

  checkpoint(): Checkpoint {
    return this.#control.checkpoint();
  }

  proof({ seq, size }: { seq: number; size?: number }): Outcome<InclusionProof> {
    const proof = this.#control.proof(seq, size);
    if (proof === undefined) return refuse('not_found', `there is no entry ${seq} in a log of that size here`);
    const hash = this.#control.stateAt(seq)?.hash ?? '';
    return ok({ seq, hash, ...proof });
  }

  consistency({ first, size }: { first: number; size?: number }): Outcome<ConsistencyProof> {
    const proof = this.#control.consistency(first, size);
    if (proof === undefined) return refuse('not_found', 'there are no logs of those sizes here');
    return ok({ first, ...proof });
  }

  namespaces(): readonly NamespaceInfo[] {
    const { namespaces } = this.#control.state();
    return [...namespaces.keys()].sort().map((ns) => this.#namespace(ns));
  }

  namespace(ns: string): Outcome<NamespaceInfo> {
    const fault = checkNamespace(ns);
    return fault === undefined ? ok(this.#namespace(ns)) : refuse('invalid_namespace', fault);
  }

  configuration(): readonly ScopeConfiguration[] {
    const { configuration } = this.#control.state();
    return [...configuration].sort(([a], [b]) => (a < b ? -1 : 1)).map(([scope, values]) => ({ scope, values }));
  }

  configurationOf(scope: string): Outcome<ScopeConfiguration> {
    const fault = checkScope(scope);
    if (fault !== undefined) return refuse('invalid_request', fault);
    return ok({ scope, values: this.#control.state().configuration.get(scope) ?? {} });
  }

  async carryOver(): Promise<Outcome<CarryStatus>> {
    const status = await this.#control.carryOver();
    if (status !== undefined) return ok(status);
    return refuse('quorum_unavailable', 'no coordinator can be asked how far the registers have been carried over');
  }

  #namespace(ns: string): NamespaceInfo {
    const policy = this.#control.state().namespaces.get(ns) ?? {};
    return { ns, policy, effective: effectivePolicy(policy) };
  }
}

/** How the fold begins when it says which operation of an entry it refuses: here an entry has one. */
const onlyOperation = /^operation 1(?: \([a-z]+\))?: /;

function changeOf(outcome: SubmitOutcome): Outcome<CommittedChange> {
  const { operationId } = outcome;
  switch (outcome.kind) {
    case 'committed':
      return ok({ seq: outcome.seq, hash: outcome.hash, operationId });
    case 'refused':
      return refuse(refusalCodes[outcome.code] ?? 'log_moved', outcome.message.replace(onlyOperation, ''), {
        operationId,
        ...(outcome.progress === undefined ? {} : { progress: outcome.progress }),
      });
    case 'unknown':
      return refuse(
        'unknown_outcome',
        'whether it was done is not known yet: ask again with this operation id as Idempotency-Key, and it is done once',
        { operationId },
      );
  }
}

/** What the fold refuses, by the codes of the node's face. What is not here tells of a draft that came too late. */
const refusalCodes: Readonly<
  Partial<Record<ControlRefusal['code'] | 'operation_reused' | 'quorum_unavailable', RefusalCode>>
> = {
  malformed: 'invalid_request',
  operation_reused: 'operation_reused',
  quorum_unavailable: 'quorum_unavailable',
  name_taken: 'name_taken',
  node_taken: 'node_taken',
  key_taken: 'key_taken',
  key_removed: 'key_removed',
  unknown_node: 'unknown_node',
  last_coordinator: 'last_coordinator',
  too_many_coordinators: 'too_many_coordinators',
  several_coordinator_changes: 'several_coordinator_changes',
  carry_over_running: 'carry_over_running',
  too_many: 'too_many',
};
