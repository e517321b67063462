import type { ClusterId, NodeId } from '../../crdt/ids.ts';
import {
  checkpoint,
  committed,
  configuration,
  consistencyProof,
  genesis,
  inclusionProof,
  logListing,
  namespace,
} from '../../src/http/cluster-examples.ts';
import type { ChangeInput, ClusterApi, CommittedChange, ControlStatus, Outcome } from '../../src/node/api.ts';

/** A cluster that answers as the examples of the API do, and remembers what it was asked to change. */
export class FakeCluster implements ClusterApi {
  readonly asked: ChangeInput[] = [];
  /** What the next changes end in. */
  answer: Outcome<CommittedChange> = { ok: true, value: committed };

  async change(input: ChangeInput): Promise<Outcome<CommittedChange>> {
    this.asked.push(input);
    return this.answer;
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

  status(node: NodeId, cluster: ClusterId): ControlStatus {
    return {
      seq: 0,
      hash: cluster,
      epoch: 1,
      coordinator: true,
      coordinators: [node],
      restored: [],
      carryOver: { epoch: 1, carried: 0, complete: true },
    };
  }
}
