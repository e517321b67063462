import type { NodeId } from '../../crdt/ids.ts';
import * as examples from '../../src/http/replication-examples.ts';
import type {
  AuditOutcome,
  AuditRequest,
  DrainStatus,
  MovePreview,
  ObjectPlacement,
  Outcome,
  PreviewInput,
  Refusal,
  RepairPlanPage,
  ReplicaPage,
  ReplicasInput,
  ReplicationAdmin,
  ReplicationStatus,
} from '../../src/node/api.ts';

const as = <T>(example: unknown): T => example as T;

/** Replication that answers as the examples of the API do, and remembers what it was asked. */
export class FakeReplication implements ReplicationAdmin {
  readonly asked: unknown[] = [];
  /** What every call that can be refused ends in, when there is one. */
  refusal: Refusal | undefined;
  standing: ReplicationStatus = as(examples.status);
  /** How the next audits end, before the others. */
  readonly audits: AuditOutcome[] = [];
  /** How far drains have come at the next looks, before they are safe. */
  readonly drains: Partial<DrainStatus>[] = [];
  /** The pages of previews, before the one of the example. */
  readonly previews: Partial<MovePreview>[] = [];
  page: ReplicaPage = as(examples.replicas);
  planned: RepairPlanPage = as(examples.plan);

  placement({ ns, key }: { ns: string; key: string }): Outcome<ObjectPlacement> {
    this.asked.push({ ns, key });
    return this.#answer({ ...as<ObjectPlacement>(examples.degradedPlacement), ns, key });
  }

  async preview(input: PreviewInput): Promise<Outcome<MovePreview>> {
    this.asked.push(input);
    return this.#answer({ ...as<MovePreview>(examples.preview), ...this.previews.shift() });
  }

  async status(): Promise<ReplicationStatus> {
    return this.standing;
  }

  async plan(input: { after?: string; limit?: number } = {}): Promise<Outcome<RepairPlanPage>> {
    this.asked.push(input);
    return this.#answer(this.planned);
  }

  async audit(request: AuditRequest = {}): Promise<AuditOutcome> {
    this.asked.push(request);
    return this.audits.shift() ?? as(examples.auditDone);
  }

  async replicas(input: ReplicasInput): Promise<Outcome<ReplicaPage>> {
    this.asked.push(input);
    return this.#answer({ ...this.page, ns: input.ns, key: input.key });
  }

  async drainStatus(nodeId: string): Promise<Outcome<DrainStatus>> {
    this.asked.push(nodeId);
    return this.#answer({
      ...as<DrainStatus>(examples.drained),
      nodeId: nodeId as NodeId,
      ...this.drains.shift(),
    });
  }

  #answer<T>(value: T): Outcome<T> {
    return this.refusal === undefined ? { ok: true, value } : { ok: false, error: this.refusal };
  }
}
