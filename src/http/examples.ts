import { type Problem, type ProblemCode, problemBody, problemCodes } from './errors.ts';
import { metaBytesMax } from './limits.ts';

/**
 * One small story that pins every shape: a note is written on node n1, changed on both sides of a cut, and merged.
 * The hashes of the contents are the real ones; ids only look the part.
 */

const ns = 'team-docs';
const key = 'rivers/anabranch.md';
const first = '6kiup5oidvppilph4lp4uzhzvvpkplve6bqsor64i3sw62vc4kpq';
const left = 'lh3xsmzd5txmzblf7qiyi73xvyztu6er5q7z2s3dfihfwsoy3atq';
const right = 'zabsddvdynhodntr4vcwfnun24fngj2uqfmzhndedqazobc5b3ga';
const merged = 'b7a3sirmkgiwscyf27qr3jziuub4kp43yhw2jcxvpqcqckhxanra';
const nodeA = 'ly7nosw4ggaaled6pdwj46iepq';
const nodeB = '6ygitilw4io3owygr557wh2ose';
const peerA = '12D3KooWMy3MXPSxqhE1wgUreEis3zKiGgGHaYmoUynM8CcWqF8G';
const peerB = '12D3KooWRTEr6tWr9ZhMbrCftCMSXaXCQ474NssjbmT9cdCu1y9E';
const incarnation = 't4j3a2rd2kwly';
const time = 1_751_360_400_000;
const content = 'The river parts and meets again.\n';
const b3 = 'f54a7434133f2d3ed6d36c7398c3ceb841752f62366cc1c740432b5571340b07';
const firstB3 = '8fbf9b585a91dd3d0dc9965890a8c3a2cd4d730c2096b80bdec440bffd5d1e9b';
const conflict = { ns, key, heads: [left, right], preferred: right };

export const written = {
  put: {
    ns,
    key,
    version: first,
    kind: 'put',
    state: 'provisional',
    parents: [],
    generation: 1,
    size: 17,
    b3: firstB3,
    heads: [first],
    conflict: false,
  },
  confirmed: {
    ns,
    key,
    version: first,
    kind: 'put',
    state: 'confirmed',
    parents: [],
    generation: 1,
    size: 17,
    b3: firstB3,
    heads: [first],
    conflict: false,
  },
  branch: {
    ns,
    key,
    version: right,
    kind: 'put',
    state: 'provisional',
    parents: [first],
    generation: 2,
    size: 33,
    b3,
    heads: [left, right],
    conflict: true,
  },
  merge: {
    ns,
    key,
    version: merged,
    kind: 'merge',
    state: 'provisional',
    parents: [left, right],
    generation: 3,
    size: 33,
    b3,
    heads: [merged],
    conflict: false,
  },
  tombstone: {
    ns,
    key,
    version: merged,
    kind: 'delete',
    state: 'provisional',
    parents: [right],
    generation: 3,
    size: null,
    b3: null,
    heads: [merged],
    conflict: false,
  },
};

const signature = 'q'.repeat(86);

export const confirmation = {
  ns,
  key,
  version: first,
  state: 'confirmed',
  confirmedHead: first,
  position: 1,
  certificate: {
    statement: {
      v: 1,
      register: 'c7ddqbf6wtyd3qlahg3xsmw2lzvpupf7gfmcnxuo4hhxqqxg2cva',
      epoch: 1,
      position: 1,
      head: first,
      previous: null,
      ballot: { counter: 1, proposer: `${nodeA}.${incarnation}` },
    },
    signatures: [
      [nodeB, signature],
      [nodeA, signature],
    ],
  },
};

export const mergeRequest = { parents: [left, right], pick: right };
export const objectContent = content;

export const listing = {
  objects: [{ key, version: right, heads: 2, size: 33, state: 'provisional', time }],
  prefixes: ['rivers/tributaries/'],
  next: null,
};

const graphVersion = {
  author: 'admin',
  time,
  type: 'text/markdown',
  meta: { title: 'Anabranch' },
  state: 'provisional',
};

export const graph = {
  versions: [
    {
      ...graphVersion,
      version: first,
      kind: 'put',
      parents: [],
      generation: 1,
      dot: { actor: `${nodeA}.${incarnation}`, counter: 1 },
      node: nodeA,
      size: 17,
      b3: firstB3,
    },
    {
      ...graphVersion,
      version: left,
      kind: 'delete',
      parents: [first],
      generation: 2,
      dot: { actor: `${nodeA}.${incarnation}`, counter: 2 },
      node: nodeA,
      size: null,
      b3: null,
    },
    {
      ...graphVersion,
      version: right,
      kind: 'put',
      parents: [first],
      generation: 2,
      dot: { actor: `${nodeB}.${incarnation}`, counter: 1 },
      node: nodeB,
      size: 33,
      b3,
    },
  ],
  heads: [left, right],
  preferred: right,
  confirmedHead: null,
};

export const conflictPage = { conflicts: [conflict], next: null };

/** One of each type of event. */
export const events = [
  { id: 41, type: 'version', data: { ns, key, version: right, kind: 'put', node: nodeB, heads: [left, right] } },
  { id: 42, type: 'conflict', data: conflict },
  { id: 43, type: 'confirmed', data: { ns, key, version: merged, position: 1 } },
  { id: 44, type: 'node', data: { nodeId: nodeB, name: 'n2', state: 'online', since: 1_751_360_400_000 } },
  { id: 45, type: 'replication', data: { ns, key, version: right, status: 'stored' } },
  { id: 46, type: 'quorum', data: { epoch: 1, coordinators: 3, reachable: 1, available: false } },
  { id: 47, type: 'membership', data: { state: 'removed', removedBy: 7, turnedAwayBy: 0 } },
] as const;

export const status = {
  cluster: 'iz7zyfgim3srjncnan2q6ovq5od52ebv6rxg7mc5ftiblxamuw5q',
  clusterName: 'laptop',
  nodeId: nodeA,
  peerId: peerA,
  name: 'n1',
  version: '0.1.0',
  incarnation,
  ready: true,
  uptimeMs: 73_500,
  objects: 12,
  versions: 31,
  conflicts: 1,
  confirmed: 28,
  provisional: 3,
  quorum: { epoch: 1, coordinators: 3, reachable: 3, available: true, pending: 0, waitingForCopies: 0 },
  pendingContent: 0,
  records: { damaged: 0 },
  content: { dead: 0, damaged: 0, incomplete: 0, scrubbedAt: 1_751_360_400_000 },
  peers: { connected: 4, known: 4 },
  disk: { capacityBytes: 494_384_795_648, freeBytes: 121_212_080_128 },
  control: {
    seq: 3,
    hash: 'b7a3sirmkgiwscyf27qr3jziuub4kp43yhw2jcxvpqcqckhxanra',
    epoch: 1,
    coordinator: true,
    coordinators: [nodeA],
    restored: [],
    forked: null,
    carryOver: { epoch: 1, carried: 0, done: 12, total: 12, complete: true },
  },
  membership: { state: 'member', removedBy: null, turnedAwayBy: 0 },
  slots: { count: 16, kept: 16, held: 16, leaving: 0 },
};

export const nodes = {
  nodes: [
    {
      nodeId: nodeA,
      peerId: peerA,
      name: 'n1',
      state: 'online',
      since: 1_751_360_400_000,
      self: true,
      connected: true,
      addresses: ['/ip4/127.0.0.1/tcp/41001'],
      url: 'https://n1.example.org:7400',
      roles: ['coordinator', 'storage'],
      labels: { dc: 'dc1' },
      reportedLabels: { room: 'cellar' },
      version: '0.1.0',
      capacityBytes: 1_000_000_000_000,
      freeBytes: 750_000_000_000,
      usedBytes: 250_000_000_000,
      load: 2,
      lastHeartbeatMs: 0,
      clockOffsetMs: 0,
      capacity: 22,
      draining: false,
    },
    {
      nodeId: nodeB,
      peerId: peerB,
      name: 'n2',
      state: 'offline',
      since: 1_751_360_400_000,
      self: false,
      connected: false,
      addresses: ['/ip4/127.0.0.1/tcp/41002'],
      url: null,
      roles: ['storage'],
      labels: {},
      reportedLabels: {},
      version: null,
      capacityBytes: null,
      freeBytes: null,
      usedBytes: null,
      load: null,
      lastHeartbeatMs: null,
      clockOffsetMs: null,
      capacity: null,
      draining: false,
    },
  ],
};

export const metricsPage =
  '# HELP anabranch_http_requests_total Requests answered, or given up by their client (status "aborted").\n' +
  '# TYPE anabranch_http_requests_total counter\n' +
  'anabranch_http_requests_total{method="PUT",route="/v1/objects/:ns/*",status="201"} 31\n';

export const headerValues = {
  ETag: `"${right}"`,
  'X-Anabranch-State': 'provisional',
  'X-Anabranch-Heads': 2,
  'X-Anabranch-Newer': left,
  'X-Anabranch-B3': b3,
  'X-Anabranch-Meta-Title': 'K%C3%A4se',
  'Content-Range': 'bytes 4-8/33',
  'Accept-Ranges': 'bytes',
  'WWW-Authenticate': 'Bearer realm="anabranch"',
  Allow: 'GET, HEAD',
};

const operationId = 'k5sh3k2jq7v6x4m2n3p5r7t2wa';

type ProblemExample = readonly [detail: string, extras?: Readonly<Record<string, unknown>>];

const problemDetails: Readonly<Record<ProblemCode, ProblemExample>> = {
  invalid_key: ['The key has the segment "..".'],
  invalid_namespace: ['A namespace is 2 to 63 of a-z, 0-9, "." and "-", and starts with a letter or a digit.'],
  invalid_version: ['"latest" is not a version id.'],
  invalid_request: ['Unknown: "pretty".', { parameters: ['pretty'] }],
  unknown_parent: ['The parent is not known here yet.', { parent: left }],
  foreign_parent: ['The parent is a version of another object.', { parent: left }],
  incomplete_body: ['The connection ended before the whole body had arrived.', { receivedBytes: 8_192 }],
  unauthorized: ['This call needs the header "Authorization: Bearer <token>".'],
  forbidden: ['This node answers only to localhost, 127.0.0.1 and [::1].'],
  not_found: ['There is no object with this key.'],
  deleted: ['The preferred head is a tombstone.', { version: merged, heads: [merged] }],
  version_not_found: ['The object has no such version here.', { version: left }],
  not_confirmed: ['No version of the object is confirmed yet.', { heads: [left, right] }],
  method_not_allowed: ['PATCH is not allowed here.', { allowed: ['GET', 'HEAD'] }],
  request_timeout: ['The request line and headers did not arrive in time.'],
  too_many_heads: ['The object has 1000 heads; merge some before writing without parents.', { heads: 1_000 }],
  context_too_large: ['The version’s causal context does not fit into a record.'],
  not_a_descendant: ['The version does not descend from the confirmed head.', { version: left }],
  too_large: [`The metadata is larger than ${metaBytesMax} bytes.`, { bytesMax: metaBytesMax }],
  unsupported_media_type: ['The Content-Type is not one this call takes.'],
  range_not_satisfiable: ['The content has 33 bytes, and one range of them can be asked for.', { size: 33 }],
  expectation_failed: ['The only expectation this node meets is 100-continue.'],
  headers_too_large: ['The request line and headers are larger than this node takes.'],
  internal: ['The node failed to answer; its log has the reason.'],
  damaged: ['A part of what this node has stored is damaged on its disk and was not used.'],
  content_unavailable: ['no holder has sent anything of the content for 10 s'],
  metadata_unavailable: ['The versions of notes/readme.txt are held by other nodes, and none of them answers.'],
  quorum_unavailable: [
    'The version is stored here as provisional; no quorum confirmed it in time.',
    { version: right },
  ],
  coordinators_unavailable: ['No coordinator answers, and only they know where content is.'],
  too_many_streams: ['64 event streams are open already; close one first.', { streamsMax: 64 }],
  not_ready: ['The node is starting or stopping.'],
  shutting_down: ['The node is shutting down; ask another one.'],
  unknown_outcome: ['Ask again with this operation id as Idempotency-Key.', { operationId }],
  not_permitted: ['This node has no role that writes, as far as its control log says.'],
  unknown_node: ['Node 6ygitilw4io3owygr557wh2ose is no member.', { operationId }],
  operation_reused: ['Entry 3 has the operation id for something else: use another one.', { operationId }],
  name_taken: ['The name n3 is that of node ly7nosw4ggaaled6pdwj46iepq.', { operationId }],
  node_taken: ['Node 6ygitilw4io3owygr557wh2ose is a member already.', { operationId }],
  key_taken: ['The key is that of n1.', { operationId }],
  key_removed: ['The key was removed by entry 4: a new key is needed.', { operationId }],
  last_coordinator: ['No coordinator would be left.', { operationId }],
  too_many_coordinators: ['A cluster has at most 7 coordinators.', { operationId }],
  several_coordinator_changes: ['An entry changes at most one coordinator, and this one changes 2.', { operationId }],
  carry_over_running: [
    '12 of 31 registers have reached the coordinators of epoch 2 so far; try again.',
    { operationId, progress: { epoch: 2, done: 12, total: 31 } },
  ],
  too_many: ['A cluster has at most 1024 members.', { operationId }],
  log_moved: ['The log went on while this was asked for; try again.', { operationId }],
  disk_full: ['There is no room left on this node; nothing was stored.'],
};

export const problemExamples = Object.fromEntries(
  problemCodes.map((code) => [code, problemBody(code, ...problemDetails[code])]),
) as Readonly<Record<ProblemCode, Problem>>;
