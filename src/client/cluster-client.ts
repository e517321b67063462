import type {
  CarryStatus,
  Checkpoint,
  CommittedChange,
  LogListing,
  NamespaceInfo,
  NamespacePolicy,
  NodeInfo,
  ScopeConfiguration,
} from '../node/api.ts';
import { type Call, readText, type Transport } from './transport.ts';

/** Of every call that changes the cluster. */
export interface ChangeOptions {
  /** Why; it is part of the entry. */
  readonly reason?: string | undefined;
  /** 26 to 64 characters of base32: the same call made again under it is done once. */
  readonly operationId?: string | undefined;
}

/** A node to admit. */
export type NewMember = Pick<NodeInfo, 'name' | 'nodeId' | 'peerId' | 'addresses'> & Partial<NodeInfo>;

/** The calls about the cluster: members, namespaces, and the control log. Every one rejects with `ApiError`. */
export class ClusterClient {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  admit({ name, nodeId, peerId, addresses, roles, labels }: NewMember, options: ChangeOptions = {}) {
    const body = { name, nodeId, peerId, addresses, roles, labels };
    return this.#change({ method: 'POST', path: '/v1/nodes' }, options, body);
  }

  remove(nodeId: string, options: ChangeOptions = {}): Promise<CommittedChange> {
    return this.#change({ method: 'DELETE', path: nodePath(nodeId) }, options);
  }

  setRoles(nodeId: string, roles: readonly string[], options: ChangeOptions = {}): Promise<CommittedChange> {
    return this.#change({ method: 'PUT', path: `${nodePath(nodeId)}/roles` }, options, { roles });
  }

  setLabels(nodeId: string, labels: Readonly<Record<string, string>>, options: ChangeOptions = {}) {
    return this.#change({ method: 'PUT', path: `${nodePath(nodeId)}/labels` }, options, { labels });
  }

  setAddresses(nodeId: string, addresses: readonly string[], options: ChangeOptions = {}): Promise<CommittedChange> {
    return this.#change({ method: 'PUT', path: `${nodePath(nodeId)}/addresses` }, options, { addresses });
  }

  /** @param capacity a step from 1 to 64, two of which double it */
  setCapacity(nodeId: string, capacity: number, options: ChangeOptions = {}): Promise<CommittedChange> {
    return this.#change({ method: 'PUT', path: `${nodePath(nodeId)}/capacity` }, options, { capacity });
  }

  /** Replaces everything the scope has set. */
  setConfiguration(scope: string, values: ScopeConfiguration['values'], options: ChangeOptions = {}) {
    return this.#change({ method: 'PUT', path: configurationPath(scope) }, options, { values });
  }

  async configurationOf(scope: string): Promise<ScopeConfiguration> {
    return (await this.#transport.json({ method: 'GET', path: configurationPath(scope) })) as ScopeConfiguration;
  }

  async configuration(): Promise<{ readonly configuration: readonly ScopeConfiguration[] }> {
    return (await this.#transport.json({ method: 'GET', path: '/v1/configuration' })) as {
      readonly configuration: readonly ScopeConfiguration[];
    };
  }

  /** How far the registers have come to the present coordinators. */
  async carryOver(): Promise<CarryStatus> {
    return (await this.#transport.json({ method: 'GET', path: '/v1/control-log/carry-over' })) as CarryStatus;
  }

  setNamespace(ns: string, policy: NamespacePolicy, options: ChangeOptions = {}): Promise<CommittedChange> {
    return this.#change({ method: 'PUT', path: namespacePath(ns) }, options, { policy });
  }

  async namespace(ns: string): Promise<NamespaceInfo> {
    return (await this.#transport.json({ method: 'GET', path: namespacePath(ns) })) as NamespaceInfo;
  }

  async namespaces(): Promise<{ readonly namespaces: readonly NamespaceInfo[] }> {
    return (await this.#transport.json({ method: 'GET', path: '/v1/namespaces' })) as {
      readonly namespaces: readonly NamespaceInfo[];
    };
  }

  async entries(options: { readonly after?: number; readonly limit?: number } = {}): Promise<LogListing> {
    const query = { after: options.after?.toString(), limit: options.limit?.toString() };
    return (await this.#transport.json({ method: 'GET', path: '/v1/control-log', query })) as LogListing;
  }

  async checkpoint(): Promise<Checkpoint> {
    return (await this.#transport.json({ method: 'GET', path: '/v1/control-log/checkpoint' })) as Checkpoint;
  }

  /** The genesis entry's text, exactly. */
  async genesis(): Promise<string> {
    return readText(await this.#transport.call({ method: 'GET', path: '/v1/control-log/genesis' }));
  }

  #change(call: Pick<Call, 'method' | 'path'>, options: ChangeOptions, body?: object): Promise<CommittedChange> {
    return changeCluster(this.#transport, call, options, body);
  }
}

/** A call that changes the cluster. Rejects with `ApiError`. */
export async function changeCluster(
  transport: Transport,
  call: Pick<Call, 'method' | 'path'>,
  { reason, operationId }: ChangeOptions,
  body?: object,
): Promise<CommittedChange> {
  const answer = await transport.json({
    ...call,
    query: { reason },
    headers: {
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...(operationId === undefined ? {} : { 'idempotency-key': operationId }),
    },
    body: body === undefined ? undefined : Buffer.from(JSON.stringify(body)),
  });
  return answer as CommittedChange;
}

function nodePath(nodeId: string): string {
  return `/v1/nodes/${encodeURIComponent(nodeId)}`;
}

function configurationPath(scope: string): string {
  return `/v1/configuration/${encodeURIComponent(scope)}`;
}

function namespacePath(ns: string): string {
  return `/v1/namespaces/${encodeURIComponent(ns)}`;
}
