import type {
  AskedChange,
  AuditOutcome,
  CommittedChange,
  DrainStatus,
  MovePreview,
  ObjectPlacement,
  RepairPlanPage,
  ReplicaPage,
  ReplicationStatus,
} from '../node/api.ts';
import { type ChangeOptions, changeCluster } from './cluster-client.ts';
import type { Transport } from './transport.ts';

export interface ReplicasOptions {
  /** This version alone. */
  readonly version?: string | undefined;
  readonly after?: string | undefined;
  readonly limit?: number | undefined;
}

/** The calls about where content should be and is. Every one rejects with `ApiError`. */
export class ReplicationClient {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  async placement(ns: string, key: string): Promise<ObjectPlacement> {
    const path = '/v1/replication/placement';
    return (await this.#transport.json({ method: 'GET', path, query: { ns, key } })) as ObjectPlacement;
  }

  /** A page of what a change would move. */
  async preview(
    change: AskedChange,
    page: { readonly after?: string | undefined; readonly limit?: number | undefined } = {},
  ): Promise<MovePreview> {
    return (await this.#transport.json({
      method: 'POST',
      path: '/v1/replication/preview',
      headers: { 'content-type': 'application/json' },
      body: Buffer.from(JSON.stringify({ change, ...page })),
    })) as MovePreview;
  }

  async status(): Promise<ReplicationStatus> {
    return (await this.#transport.json({ method: 'GET', path: '/v1/replication/status' })) as ReplicationStatus;
  }

  async plan(
    page: { readonly after?: string | undefined; readonly limit?: number | undefined } = {},
  ): Promise<RepairPlanPage> {
    const query = { after: page.after, limit: page.limit?.toString() };
    return (await this.#transport.json({ method: 'GET', path: '/v1/replication/plan', query })) as RepairPlanPage;
  }

  /** @param waitSeconds how long to wait for its end, 30 at most */
  async audit(waitSeconds = 0): Promise<AuditOutcome> {
    const query = { wait: waitSeconds.toString() };
    return (await this.#transport.json({ method: 'POST', path: '/v1/replication/audit', query })) as AuditOutcome;
  }

  async replicas(ns: string, key: string, options: ReplicasOptions = {}): Promise<ReplicaPage> {
    const path = `/v1/replicas/${encodeURIComponent(ns)}/${key.split('/').map(encodeURIComponent).join('/')}`;
    const query = { version: options.version, after: options.after, limit: options.limit?.toString() };
    return (await this.#transport.json({ method: 'GET', path, query })) as ReplicaPage;
  }

  /** Has a member's content move elsewhere. Undefined when it drains already, and nothing was changed. */
  drain(nodeId: string, options: ChangeOptions = {}): Promise<CommittedChange | undefined> {
    return changeCluster(this.#transport, { method: 'POST', path: drainPath(nodeId) }, options);
  }

  /** Uses a member that drained again. Undefined when it does not drain, and nothing was changed. */
  undrain(nodeId: string, options: ChangeOptions = {}): Promise<CommittedChange | undefined> {
    return changeCluster(this.#transport, { method: 'DELETE', path: drainPath(nodeId) }, options);
  }

  async drainStatus(nodeId: string): Promise<DrainStatus> {
    return (await this.#transport.json({ method: 'GET', path: drainPath(nodeId) })) as DrainStatus;
  }
}

function drainPath(nodeId: string): string {
  return `/v1/nodes/${encodeURIComponent(nodeId)}/drain`;
}
