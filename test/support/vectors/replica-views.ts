import type { NodeId } from '../../../crdt/ids.ts';
import type { ReplicaRequest, ReplicaResponse } from '../../../protocols/replicas/messages.ts';
import type { Samples } from './messages.ts';

type View = 'status' | 'plan' | 'audit' | 'copies' | 'drain' | 'preview';

const [node, other] = ['a', 'b'].map((letter) => `${letter.repeat(25)}a`) as [NodeId, NodeId];
const [doc, version, manifest] = [1, 2, 3].map((byte) => new Uint8Array(32).fill(byte)) as [
  Uint8Array<ArrayBuffer>,
  Uint8Array<ArrayBuffer>,
  Uint8Array<ArrayBuffer>,
];
const time = 1_751_360_400_000;
const object = { ns: 'docs', key: 'a/b', version, size: 300 };

const changes: readonly Extract<ReplicaRequest, { t: 'preview' }>['change'][] = [
  { kind: 'leave', node },
  { kind: 'drain', node },
  { kind: 'join', node, labels: { dc: 'a' }, capacity: 20 },
  { kind: 'labels', node, labels: {} },
  { kind: 'capacity', node, capacity: 64 },
];
const preview = (change: (typeof changes)[number]): Extract<ReplicaRequest, { t: 'preview' }> => ({
  t: 'preview',
  change,
  after: null,
  moves: 40,
});
const [leave, ...otherChanges] = changes.map(preview) as [
  Extract<ReplicaRequest, { t: 'preview' }>,
  ...Extract<ReplicaRequest, { t: 'preview' }>[],
];

/** What members ask coordinators about replication. */
export const replicaViewRequests: Samples<Extract<ReplicaRequest, { t: View }>> = {
  status: [{ t: 'status' }],
  plan: [
    { t: 'plan', after: null },
    { t: 'plan', after: { waiting: false, proved: 2, size: 300, manifest, to: node, version } },
  ],
  audit: [{ t: 'audit', wait: 30_000 }],
  copies: [{ t: 'copies', manifests: [manifest] }],
  drain: [{ t: 'drain', node }],
  preview: [leave, ...otherChanges, { ...leave, after: { doc, version } }],
};

/** What coordinators answer. */
export const replicaViewResponses: Samples<Extract<ReplicaResponse, { t: View }>> = {
  status: [
    { t: 'status', intents: 0, late: 0, auditor: null },
    {
      t: 'status',
      intents: 3,
      late: 1,
      auditor: {
        running: { reason: 'timer', phase: 'plan', subjects: 10 },
        last: {
          reason: 'start',
          time,
          took: 1_500,
          among: [node, other],
          totals: {
            subjects: 10,
            healthy: 5,
            under: 1,
            mis: 1,
            over: 1,
            unreachable: 1,
            degraded: 1,
            pulls: 2,
            pullBytes: 600,
            waitingPulls: 1,
            waitingBytes: 300,
            surplusCopies: 1,
            surplusBytes: 300,
          },
          cut: false,
          suspects: 1,
          checks: { proved: 4, lacking: 0, wrong: 0, unreachable: 1 },
        },
        repairs: { pulls: 2, bytes: 600, rate: 100, eta: 6_000 },
      },
    },
    {
      t: 'status',
      intents: 0,
      late: 0,
      auditor: { running: null, last: null, repairs: { pulls: 0, bytes: 0, rate: 0, eta: null } },
    },
  ],
  plan: [
    {
      t: 'plan',
      page: {
        pulls: [{ ...object, manifest, to: node, from: [other], proved: 1, waiting: true, waits: [[other, 5_000]] }],
        more: false,
      },
    },
    { t: 'plan', page: null },
  ],
  audit: [
    { t: 'audit', state: 'done' },
    { t: 'audit', state: 'running' },
    { t: 'audit', state: null },
  ],
  copies: [
    {
      t: 'copies',
      copies: [
        [
          [node, 300, time, 'own'],
          [other, 300, 0, 'listed'],
        ],
        [[other, 5, time, 'suspect']],
        [],
      ],
    },
    { t: 'copies', copies: null },
  ],
  drain: [
    { t: 'drain', progress: { contents: 10, remaining: 2, bytes: 600, unreadable: 0, current: true } },
    { t: 'drain', progress: null },
  ],
  preview: [
    {
      t: 'preview',
      page: {
        moves: [
          {
            ...object,
            from: [node],
            to: [other],
            lacks: [
              { kind: 'replicas', wanted: 3, placed: 2 },
              { kind: 'diversity', label: 'dc', wanted: 2, placed: 1 },
            ],
          },
        ],
        totals: { subjects: 10, moved: 1, copies: 1, bytes: 300, degraded: 1 },
        nodes: [[node, 3, 900, 2, 600]],
        next: { doc, version },
      },
    },
    { t: 'preview', page: null },
  ],
};
