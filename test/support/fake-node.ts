import { blake3, toBase32, toHex } from '../../crdt/digest.ts';
import type { Actor, ClusterId, NodeId, PeerId, VersionId } from '../../crdt/ids.ts';
import type {
  Confirmation,
  ConfirmInput,
  Conflict,
  ConflictPage,
  ConflictsInput,
  ContentStatus,
  GraphVersion,
  ListInput,
  Listing,
  MembershipStatus,
  MergeInput,
  MeshEvent,
  MeshNode,
  NodeInfo,
  NodeStatus,
  ObjectGraph,
  Outcome,
  PutInput,
  ReadInput,
  ReadVersion,
  Refusal,
  RefusalCode,
  VersionKind,
  WriteTarget,
  WrittenVersion,
} from '../../src/node/api.ts';
import { MeshError } from '../../src/ports/mesh-error.ts';
import { FakeCluster } from './fake-cluster.ts';
import { FakeContent } from './fake-content.ts';
import { FakeReplication } from './fake-replication.ts';

/** A node that keeps its objects in a map: no signatures, no flushes, no peers, but the same answers. */
export class FakeNode implements MeshNode {
  readonly objects = new Map<string, FakeObject>();
  readonly published: MeshEvent[] = [];
  readonly cluster = new FakeCluster();
  readonly replication = new FakeReplication();
  readonly content = new FakeContent();
  isReady = true;
  isQuorate = true;
  unconfirmed = { pending: 0, waitingForCopies: 0 };
  damagedRecords = 0;
  contentStatus: ContentStatus = { dead: 0, damaged: 0, incomplete: 0, scrubbedAt: null };
  /** Other members than itself. */
  readonly others: NodeInfo[] = [];
  membership: MembershipStatus = { state: 'member', removedBy: null, turnedAwayBy: 0 };
  readonly #listeners = new Set<() => void>();
  #time = 1_751_360_400_000;

  async start(): Promise<void> {}
  async stop(): Promise<void> {}

  async put(input: PutInput): Promise<Outcome<WrittenVersion>> {
    const checked = this.#check(input);
    if (!checked.ok) return checked;
    const body = await gather(input.body);
    if (!body.ok) return body;
    const { type = 'application/octet-stream', meta = {} } = input;
    return this.#write(input, checked.value, 'put', { bytes: body.value, type, meta });
  }

  async delete(input: WriteTarget): Promise<Outcome<WrittenVersion>> {
    const checked = this.#check(input);
    if (!checked.ok) return checked;
    if (checked.value.versions.size === 0) return refuse('not_found', 'There is no object with this key.');
    return this.#write(input, checked.value, 'delete', null);
  }

  async merge(input: MergeInput): Promise<Outcome<WrittenVersion>> {
    const checked = this.#check(input);
    if (!checked.ok) return checked;
    const picked = checked.value.versions.get(input.pick as VersionId);
    if (picked === undefined) return refuse('unknown_parent', 'The version to pick is not known here.');
    return this.#write(input, checked.value, 'merge', picked.content);
  }

  /** Confirms what it is asked for, by a certificate that only looks the part. */
  async confirm(input: ConfirmInput): Promise<Outcome<Confirmation>> {
    const named = checkName(input);
    if (named !== undefined) return named;
    const object = this.objects.get(nameOf(input));
    if (object === undefined) return refuse('not_found', 'There is no object with this key.');
    if (input.version !== undefined && !isId(input.version)) {
      return refuse('invalid_version', 'That is not a version id.');
    }
    const version = (input.version as VersionId | undefined) ?? preferredOf(object);
    if (!object.versions.has(version)) return refuse('version_not_found', 'The object has no such version here.');
    if (!this.isQuorate) return refuse('quorum_unavailable', 'No quorum confirmed it in time.', { version });
    const { ns, key } = object;
    return { ok: true, value: { ns, key, version, ...proofOf(version) } };
  }

  bring(): undefined {
    return undefined;
  }

  read(input: ReadInput): Outcome<ReadVersion> {
    const named = checkName(input);
    if (named !== undefined) return named;
    const object = this.objects.get(nameOf(input));
    if (object === undefined) return refuse('not_found', 'There is no object with this key.');
    if (input.mode === 'confirmed_only') return refuse('not_confirmed', 'No version of the object is confirmed yet.');
    if (input.version !== undefined && !isId(input.version))
      return refuse('invalid_version', 'That is not a version id.');
    const version = object.versions.get((input.version as VersionId | undefined) ?? preferredOf(object));
    if (version === undefined) return refuse('version_not_found', 'The object has no such version here.');
    if (version.content === null) {
      return refuse('deleted', 'The version is a tombstone.', {
        version: version.shown.version,
        heads: headsOf(object),
      });
    }
    return { ok: true, value: readable(object, version.shown, version.content) };
  }

  list(input: ListInput): Outcome<Listing> {
    const named = checkName({ ns: input.ns, key: 'any' });
    if (named !== undefined) return named;
    const { prefix = '', delimiter, after, limit = 1_000 } = input;
    const rows: { name: string; object?: FakeObject }[] = [];
    for (const object of [...this.objects.values()].sort((a, b) => compare(a.key, b.key))) {
      if (object.ns !== input.ns || !object.key.startsWith(prefix)) continue;
      const cut = delimiter === undefined ? -1 : object.key.indexOf(delimiter, prefix.length);
      const name = cut === -1 ? object.key : object.key.slice(0, cut + (delimiter ?? '').length);
      if (rows.at(-1)?.name !== name) rows.push(cut === -1 ? { name, object } : { name });
    }
    const rest = rows.filter(({ name }) => after === undefined || compare(name, after) > 0);
    const page = rest.slice(0, limit);
    return {
      ok: true,
      value: {
        objects: page.flatMap(({ object }) => (object === undefined ? [] : [listed(object)])),
        prefixes: page.flatMap(({ name, object }) => (object === undefined ? [name] : [])),
        next: rest.length > limit ? (page.at(-1)?.name ?? null) : null,
      },
    };
  }

  async wholeList(input: ListInput): Promise<Outcome<Listing>> {
    return this.list(input);
  }

  graph(input: { ns: string; key: string }): Outcome<ObjectGraph> {
    const named = checkName(input);
    if (named !== undefined) return named;
    const object = this.objects.get(nameOf(input));
    if (object === undefined) return refuse('not_found', 'There is no object with this key.');
    const versions = [...object.versions.values()].map(({ shown }) => shown);
    versions.sort((a, b) => a.generation - b.generation || compare(a.version, b.version));
    return {
      ok: true,
      value: { versions, heads: headsOf(object), preferred: preferredOf(object), confirmedHead: null },
    };
  }

  conflicts({ ns, limit = 1_000 }: ConflictsInput): Outcome<ConflictPage> {
    const all = [...this.objects.values()].filter((object) => headsOf(object).length > 1);
    const conflicts = all.filter((object) => ns === undefined || object.ns === ns).map(conflictOf);
    return { ok: true, value: { conflicts: conflicts.slice(0, limit), next: null } };
  }

  async wholeConflicts(input: ConflictsInput): Promise<Outcome<ConflictPage>> {
    return this.conflicts(input);
  }

  async *events({ after, signal }: { after?: number; signal: AbortSignal }): AsyncIterable<MeshEvent> {
    let position = after ?? this.published.length;
    while (!signal.aborted) {
      const event = this.published[position];
      if (event !== undefined) {
        position += 1;
        yield event;
        continue;
      }
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          this.#listeners.delete(wake);
          signal.removeEventListener('abort', wake);
          resolve();
        };
        this.#listeners.add(wake);
        signal.addEventListener('abort', wake);
      });
    }
  }

  async status(): Promise<NodeStatus> {
    const objects = [...this.objects.values()];
    const cluster = toBase32(blake3(Buffer.from('cluster'))) as ClusterId;
    return {
      cluster,
      clusterName: 'fake',
      nodeId,
      peerId,
      name: 'n1',
      version: '0.1.0',
      incarnation,
      ready: this.isReady,
      uptimeMs: 1_000,
      objects: objects.length,
      versions: objects.reduce((sum, { versions }) => sum + versions.size, 0),
      conflicts: objects.filter((object) => headsOf(object).length > 1).length,
      confirmed: 0,
      provisional: objects.reduce((sum, { versions }) => sum + versions.size, 0),
      quorum: { epoch: 1, coordinators: 1, reachable: 1, available: this.isQuorate, ...this.unconfirmed },
      pendingContent: 0,
      records: { damaged: this.damagedRecords },
      content: this.contentStatus,
      peers: { connected: 0, known: 0 },
      disk: { capacityBytes: 1_000_000, freeBytes: 500_000 },
      control: this.cluster.status(nodeId, cluster),
      membership: this.membership,
      slots: { count: 16, kept: 16, held: 16, leaving: 0 },
    };
  }

  nodes(): readonly NodeInfo[] {
    const addresses = ['/ip4/127.0.0.1/tcp/41001'];
    const roles = ['coordinator', 'storage'] as const;
    const self = { nodeId, peerId, name: 'n1', state: 'online', self: true } as const;
    const seen = { since: 1_751_360_400_000, connected: true, url: null, reportedLabels: {}, version: 'test' };
    const space = { capacityBytes: 1_000_000, freeBytes: 500_000, usedBytes: 500_000, load: 0 };
    const heard = { lastHeartbeatMs: 0, clockOffsetMs: 0 };
    const own = { ...self, ...seen, ...space, ...heard, addresses, roles, labels: {}, capacity: 22, draining: false };
    return [own, ...this.others];
  }

  ready(): boolean {
    return this.isReady;
  }

  /** Publishes an event of any type, numbered from 1. */
  publish(event: MeshEvent extends infer Each ? (Each extends MeshEvent ? Omit<Each, 'id'> : never) : never): void {
    this.published.push({ id: this.published.length + 1, ...event } as MeshEvent);
    for (const wake of [...this.#listeners]) wake();
  }

  get eventReaders(): number {
    return this.#listeners.size;
  }

  /** The object a write goes to, made when it is the first, once name and parents are in order. */
  #check(input: WriteTarget): Outcome<FakeObject> {
    const named = checkName(input);
    if (named !== undefined) return named;
    const { ns, key, parents = [] } = input;
    const object = this.objects.get(nameOf(input)) ?? { ns, key, versions: new Map(), counter: 0 };
    for (const parent of parents) {
      if (!isId(parent)) return refuse('invalid_version', `"${parent}" is not a version id.`);
      if (object.versions.has(parent as VersionId)) continue;
      const foreign = [...this.objects.values()].some(({ versions }) => versions.has(parent as VersionId));
      return foreign
        ? refuse('foreign_parent', 'The parent is a version of another object.', { parent })
        : refuse('unknown_parent', 'The parent is not known here yet.', { parent });
    }
    return { ok: true, value: object };
  }

  #write(input: WriteTarget, object: FakeObject, kind: VersionKind, content: Content | null): Outcome<WrittenVersion> {
    const blind = object.versions.size === 0 ? [] : [preferredOf(object)];
    const parents = [...((input.parents as VersionId[] | undefined) ?? blind)].sort(compare);
    const generations = parents.map((parent) => shownIn(object, parent).generation);
    object.counter += 1;
    this.#time += 1;
    const shown: GraphVersion = {
      version: toBase32(blake3(Buffer.from(`${nameOf(object)} ${object.counter} ${this.#time}`))) as VersionId,
      kind: kind === 'put' && parents.length > 1 ? 'merge' : kind,
      state: 'provisional',
      parents,
      generation: Math.max(0, ...generations) + 1,
      dot: { actor: `${nodeId}.${incarnation}` as Actor, counter: object.counter },
      author: input.author,
      node: nodeId,
      time: this.#time,
      size: content === null ? null : content.bytes.length,
      b3: content === null ? null : toHex(blake3(content.bytes)),
      type: content?.type ?? 'application/octet-stream',
      meta: content?.meta ?? {},
    };
    object.versions.set(shown.version, { shown, content });
    this.objects.set(nameOf(object), object);
    return this.#acknowledge(input, object, shown);
  }

  #acknowledge(input: WriteTarget, object: FakeObject, shown: GraphVersion): Outcome<WrittenVersion> {
    const { ns, key } = object;
    const { version, kind, state, parents, generation, size, b3 } = shown;
    const heads = headsOf(object);
    this.publish({ type: 'version', data: { ns, key, version, kind, node: nodeId, heads } });
    if (heads.length > 1) this.publish({ type: 'conflict', data: conflictOf(object) });
    if (input.commit === 'quorum') {
      return refuse('quorum_unavailable', 'Stored here as provisional; no quorum confirmed it in time.', { version });
    }
    const conflict = heads.length > 1;
    return { ok: true, value: { ns, key, version, kind, state, parents, generation, size, b3, heads, conflict } };
  }
}

interface Content {
  readonly bytes: Uint8Array;
  readonly type: string;
  readonly meta: Readonly<Record<string, string>>;
}

interface FakeObject {
  readonly ns: string;
  readonly key: string;
  readonly versions: Map<VersionId, { readonly shown: GraphVersion; readonly content: Content | null }>;
  counter: number;
}

const nodeId = 'ly7nosw4ggaaled6pdwj46iepq' as NodeId;
const peerId = '12D3KooWMy3MXPSxqhE1wgUreEis3zKiGgGHaYmoUynM8CcWqF8G' as PeerId;
const incarnation = 't4j3a2rd2kwly';
const pieceBytes = 64 * 1024;

const compare = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b));
const nameOf = ({ ns, key }: { readonly ns: string; readonly key: string }): string => `${ns}/${key}`;
const isId = (text: string): boolean => /^[a-z2-7]{51}[aq]$/.test(text);

function proofOf(head: VersionId): Pick<Confirmation, 'state' | 'confirmedHead' | 'position' | 'certificate'> {
  const register = toBase32(blake3(Buffer.from('register')));
  const ballot = { counter: 1, proposer: `${nodeId}.${incarnation}` as Actor };
  const statement = { v: 1, register, epoch: 1, position: 1, head, previous: null, ballot } as const;
  const certificate = { statement, signatures: [[nodeId, 'q'.repeat(86)]] } as const;
  return { state: 'confirmed', confirmedHead: head, position: 1, certificate };
}

function refuse(code: RefusalCode, message: string, detail?: Refusal['detail']): { ok: false; error: Refusal } {
  return { ok: false, error: { code, message, ...(detail === undefined ? undefined : { detail }) } };
}

function checkName({
  ns,
  key,
}: {
  readonly ns: string;
  readonly key: string;
}): { ok: false; error: Refusal } | undefined {
  if (!/^[a-z0-9][a-z0-9.-]{1,62}$/.test(ns)) return refuse('invalid_namespace', 'That is not a namespace.');
  const bytes = Buffer.byteLength(key);
  if (bytes < 1 || bytes > 1_024 || key.includes('\0')) return refuse('invalid_key', 'A key is 1 to 1024 bytes.');
  if (key.split('/').some((part) => part === '.' || part === '..'))
    return refuse('invalid_key', 'The key has a dot segment.');
  return undefined;
}

async function gather(body: PutInput['body']): Promise<Outcome<Uint8Array>> {
  const parts: Uint8Array[] = [];
  try {
    for await (const part of body) parts.push(part);
  } catch (error) {
    if (!(error instanceof MeshError) || error.code !== 'incomplete_body') throw error;
    return refuse('incomplete_body', error.message, error.detail);
  }
  return { ok: true, value: parts.length === 1 ? (parts[0] as Uint8Array) : Buffer.concat(parts) };
}

function headsOf({ versions }: FakeObject): readonly VersionId[] {
  const superseded = new Set([...versions.values()].flatMap(({ shown }) => shown.parents));
  return [...versions.keys()].filter((version) => !superseded.has(version)).sort(compare);
}

function preferredOf(object: FakeObject): VersionId {
  const heads = headsOf(object).map((head) => shownIn(object, head));
  heads.sort((a, b) => b.generation - a.generation || compare(b.version, a.version));
  return heads[0]?.version as VersionId;
}

function shownIn(object: FakeObject, version: VersionId): GraphVersion {
  const found = object.versions.get(version);
  if (found === undefined) throw new Error(`no version ${version}`);
  return found.shown;
}

const conflictOf = (object: FakeObject): Conflict => ({
  ns: object.ns,
  key: object.key,
  heads: headsOf(object),
  preferred: preferredOf(object),
});

function listed(object: FakeObject): Listing['objects'][number] {
  const version = preferredOf(object);
  const { size, state, time } = shownIn(object, version);
  return { key: object.key, version, heads: headsOf(object).length, size, state, time };
}

function readable(object: FakeObject, shown: GraphVersion, content: Content): ReadVersion {
  const heads = headsOf(object);
  return {
    version: shown.version,
    state: shown.state,
    size: content.bytes.length,
    b3: shown.b3 as string,
    type: content.type,
    meta: content.meta,
    time: shown.time,
    heads,
    newer: heads.find((head) => head !== shown.version) ?? null,
    open: async (range) => ({ ok: true, value: pieces(content.bytes.subarray(range?.start, range?.end)) }),
  };
}

async function* pieces(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let start = 0; start < bytes.length; start += pieceBytes) yield bytes.subarray(start, start + pieceBytes);
}
