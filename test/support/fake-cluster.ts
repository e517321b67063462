import type { ClusterId, NodeId } from '../../crdt/ids.ts';
import {
  carryOver,
  checkpoint,
  committed,
  configuration,
  consistencyProof,
  genesis,
  inclusionProof,
  logListing,
  namespace,
} from '../../src/http/cluster-examples.ts';
import type {
  CarryStatus,
  ChangeInput,
  ClusterApi,
  CommittedChange,
  ControlStatus,
  Outcome,
} from '../../src/node/api.ts';

/** A cluster that answers as the examples of the API do, and remembers what it was asked to change. */
export class FakeCluster implements ClusterApi {
  forked: ControlStatus['forked'] = null;
  readonly asked: ChangeInput[] = [];
  /** What the next changes end in. */
  answer: Outcome<CommittedChange> = { ok: true, value: committed };
  /** What the very next changes end in, before the others. */
  readonly answers: Outcome<CommittedChange>[] = [];
  /** How far the carry-over has come at the next looks; complete after them. */
  readonly carried: CarryStatus[] = [];

  async change(input: ChangeInput): Promise<Outcome<CommittedChange>> {
    this.asked.push(input);
    return this.answers.shift() ?? this.answer;
  }

  entries(): ReturnType<ClusterApi['entries']> {
    return logListing as unknown as ReturnType<ClusterApi['entries']>;
  }

  genesis(): string {
    return JSON.stringify(genesis);
  }

  checkpoint(): ReturnType<ClusterApi['checkpoint']> {
    return checkpoint as unknown as ReturnType<ClusterApi['checkpoint']>;
  }

  proof(): ReturnType<ClusterApi['proof']> {
    return { ok: true, value: inclusionProof };
  }

  consistency(): ReturnType<ClusterApi['consistency']> {
    return { ok: true, value: consistencyProof };
  }

  namespaces(): ReturnType<ClusterApi['namespaces']> {
    return [namespace as ReturnType<ClusterApi['namespaces']>[number]];
  }

  namespace(ns: string): ReturnType<ClusterApi['namespace']> {
    return { ok: true, value: { ...namespace, ns } as ReturnType<ClusterApi['namespaces']>[number] };
  }

  configuration(): ReturnType<ClusterApi['configuration']> {
    return configuration.configuration;
  }

  configurationOf(scope: string): ReturnType<ClusterApi['configurationOf']> {
    const found = configuration.configuration.find((each) => each.scope === scope);
    return { ok: true, value: found ?? { scope, values: {} } };
  }

  async carryOver(): ReturnType<ClusterApi['carryOver']> {
    return { ok: true, value: this.carried.shift() ?? { ...carryOver, done: carryOver.total, complete: true } };
  }

  status(node: NodeId, cluster: ClusterId): ControlStatus {
    return {
      seq: 0,
      hash: cluster,
      epoch: 1,
      coordinator: true,
      coordinators: [node],
      restored: [],
      forked: this.forked,
      carryOver: { epoch: 1, carried: 0, done: 0, total: 0, complete: true },
    };
  }
}
