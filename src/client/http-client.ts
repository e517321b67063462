import type {
  CommitMode,
  Confirmation,
  ConflictPage,
  Listing,
  MeshEvent,
  NodeInfo,
  NodeStatus,
  ObjectGraph,
  ReadMode,
  WrittenVersion,
} from '../node/api.ts';
import { clientError } from './api-error.ts';
import { ClusterClient } from './cluster-client.ts';
import { ContentClient } from './content-client.ts';
import { parseEventStream } from './event-stream.ts';
import { metaPrefix, type ReadObject, readObject } from './object-read.ts';
import { ReplicationClient } from './replication-client.ts';
import type { Answer, UploadBody } from './transport.ts';
import { Transport } from './transport.ts';

export interface ClientOptions {
  /** As in `http://127.0.0.1:7400`. */
  readonly url: string;
  readonly token?: string | undefined;
  /** How long the node may make no progress before a call fails. */
  readonly stallMsMax?: number;
}

export interface WriteOptions {
  /** What the write was based on; absent for a blind write. */
  readonly parents?: readonly string[] | undefined;
  readonly commit?: CommitMode | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface PutOptions extends WriteOptions {
  readonly type?: string | undefined;
  readonly meta?: Readonly<Record<string, string>> | undefined;
  /** Bytes of the body, when known. */
  readonly size?: number | undefined;
  readonly onProgress?: ((sentBytes: number) => void) | undefined;
}

export interface GetOptions {
  readonly mode?: ReadMode | undefined;
  readonly version?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface ListOptions {
  readonly prefix?: string | undefined;
  readonly delimiter?: string | undefined;
  readonly after?: string | undefined;
  readonly limit?: number | undefined;
}

/** The HTTP API of one node. Every call rejects with `ApiError`, or with its signal's reason. */
export class AnabranchClient {
  readonly #transport: Transport;
  /** Members, namespaces and the control log. */
  readonly cluster: ClusterClient;
  /** Where content should be and is. */
  readonly replication: ReplicationClient;
  /** The content of the node itself. */
  readonly content: ContentClient;

  constructor(options: ClientOptions) {
    this.#transport = new Transport(options);
    this.cluster = new ClusterClient(this.#transport);
    this.replication = new ReplicationClient(this.#transport);
    this.content = new ContentClient(this.#transport);
  }

  get url(): string {
    return this.#transport.url;
  }

  /** Uploads with constant memory: the body is pulled only as fast as the node takes it. */
  async put(ns: string, key: string, body: UploadBody, options: PutOptions = {}): Promise<WrittenVersion> {
    const answer = await this.#transport.json({
      method: 'PUT',
      path: objectPath('objects', ns, key),
      query: writeQuery(options),
      headers: {
        ...metaHeaders(options.meta),
        ...(options.type === undefined ? {} : { 'content-type': options.type }),
      },
      body,
      bodyBytes: options.size,
      onSent: options.onProgress,
      signal: options.signal,
    });
    return answer as WrittenVersion;
  }

  async get(ns: string, key: string, options: GetOptions = {}): Promise<ReadObject> {
    const { mode, version, signal } = options;
    const call = { method: 'GET', path: objectPath('objects', ns, key), signal } as const;
    const answer = await this.#transport.call({ ...call, query: { mode, version } });
    const restOf = (read: string, from: number): Promise<Answer> =>
      this.#transport.call({ ...call, query: { version: read }, headers: { range: `bytes=${from}-` } });
    return readObject(answer, `${ns}/${key}`, restOf);
  }

  async delete(ns: string, key: string, options: WriteOptions = {}): Promise<WrittenVersion> {
    const path = objectPath('objects', ns, key);
    const query = writeQuery(options);
    return (await this.#transport.json({ method: 'DELETE', path, query, signal: options.signal })) as WrittenVersion;
  }

  /** A merge that adopts the content of `pick`. */
  async merge(
    ns: string,
    key: string,
    merge: { readonly parents: readonly string[]; readonly pick: string },
    options: Pick<WriteOptions, 'commit' | 'signal'> = {},
  ): Promise<WrittenVersion> {
    const answer = await this.#transport.json({
      method: 'POST',
      path: objectPath('merges', ns, key),
      query: { commit: options.commit },
      headers: { 'content-type': 'application/json' },
      body: Buffer.from(JSON.stringify(merge)),
      signal: options.signal,
    });
    return answer as WrittenVersion;
  }

  /** Has a version confirmed, the newest when none is named. */
  async confirm(
    ns: string,
    key: string,
    options: { readonly version?: string | undefined; readonly signal?: AbortSignal | undefined } = {},
  ): Promise<Confirmation> {
    const answer = await this.#transport.json({
      method: 'POST',
      path: objectPath('confirmations', ns, key),
      query: { version: options.version },
      signal: options.signal,
    });
    return answer as Confirmation;
  }

  async list(ns: string, options: ListOptions = {}, signal?: AbortSignal): Promise<Listing> {
    const { limit, ...query } = options;
    const path = `/v1/objects/${encodeURIComponent(ns)}`;
    return (await this.#transport.json({
      method: 'GET',
      path,
      query: { ...query, limit: limit?.toString() },
      signal,
    })) as Listing;
  }

  async graph(ns: string, key: string, signal?: AbortSignal): Promise<ObjectGraph> {
    return (await this.#transport.json({ method: 'GET', path: objectPath('graphs', ns, key), signal })) as ObjectGraph;
  }

  async conflicts(
    options: { readonly ns?: string | undefined; readonly after?: string | undefined } = {},
    signal?: AbortSignal,
  ): Promise<ConflictPage> {
    return (await this.#transport.json({
      method: 'GET',
      path: '/v1/conflicts',
      query: { ns: options.ns, after: options.after },
      signal,
    })) as ConflictPage;
  }

  async status(signal?: AbortSignal): Promise<NodeStatus> {
    return (await this.#transport.json({ method: 'GET', path: '/v1/status', signal })) as NodeStatus;
  }

  async nodes(signal?: AbortSignal): Promise<{ readonly nodes: readonly NodeInfo[] }> {
    return (await this.#transport.json({ method: 'GET', path: '/v1/nodes', signal })) as {
      readonly nodes: readonly NodeInfo[];
    };
  }

  /**
   * Resolves once the node has begun to stream, so that nothing which happens afterwards is missed. `after` is the `id` of an
   * event of this very node: for one that it has not given out yet, all that it keeps comes, from a lower `id` on.
   */
  async events(options: { readonly after?: number; readonly signal: AbortSignal }): Promise<AsyncIterable<MeshEvent>> {
    const answer = await this.#transport.call({
      method: 'GET',
      path: '/v1/events',
      headers: {
        accept: 'text/event-stream',
        ...(options.after === undefined ? {} : { 'last-event-id': String(options.after) }),
      },
      signal: options.signal,
      endless: true,
    });
    return meshEvents(answer);
  }

  /** Closes idle connections; the client can be used again. */
  close(): void {
    this.#transport.close();
  }
}

function objectPath(resource: 'objects' | 'graphs' | 'merges' | 'confirmations', ns: string, key: string): string {
  const segments = key.split('/').map(encodeSegment);
  return `/v1/${resource}/${encodeSegment(ns)}/${segments.join('/')}`;
}

/** A key that is not well-formed Unicode cannot be sent at all. */
function encodeSegment(segment: string): string {
  if (!segment.isWellFormed())
    throw clientError('invalid_request', 'A name or value contains half a Unicode character');
  return encodeURIComponent(segment);
}

function writeQuery(options: WriteOptions): Record<string, string | undefined> {
  return { parents: options.parents?.join(','), commit: options.commit };
}

function metaHeaders(meta: PutOptions['meta']): Record<string, string> {
  const entries = Object.entries(meta ?? {});
  return Object.fromEntries(entries.map(([name, value]) => [metaPrefix + encodeMetaName(name), encodeSegment(value)]));
}

/** Header names have no case and few signs, so all but the plainest bytes of a name are percent-encoded. */
function encodeMetaName(name: string): string {
  const bytes = Array.from(Buffer.from(name), (byte) =>
    /[a-z0-9._-]/.test(String.fromCharCode(byte))
      ? String.fromCharCode(byte)
      : `%${byte.toString(16).padStart(2, '0')}`,
  );
  return bytes.join('');
}

async function* meshEvents(answer: Answer): AsyncGenerator<MeshEvent, void, void> {
  for await (const { id, type, data } of parseEventStream(answer.body())) {
    yield { id: Number(id), type, data: parseData(data) } as MeshEvent;
  }
}

function parseData(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw clientError('bad_response', 'The node sent an event that is not JSON', cause);
  }
}
