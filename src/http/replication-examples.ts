/** The story of `examples.ts` goes on: three nodes hold two copies of the note in two places. */

const ns = 'team-docs';
const key = 'rivers/anabranch.md';
const version = 'b7a3sirmkgiwscyf27qr3jziuub4kp43yhw2jcxvpqcqckhxanra';
const manifest = 'zabsddvdynhodntr4vcwfnun24fngj2uqfmzhndedqazobc5b3ga';
const nodeA = 'ly7nosw4ggaaled6pdwj46iepq';
const nodeB = '6ygitilw4io3owygr557wh2ose';
const nodeC = 'k5sh3k2jq7v6x4m2n3p5r7t2wa';
const time = 1_751_360_400_000;

const n1 = { nodeId: nodeA, name: 'n1', labels: { dc: 'dc1' }, presence: 'online' };
const n2 = { nodeId: nodeB, name: 'n2', labels: { dc: 'dc2' }, presence: 'away' };
const n3 = { nodeId: nodeC, name: 'n3', labels: { dc: 'dc2' }, presence: 'online' };
const asNamed = ({ nodeId, name, presence }: typeof n1) => ({ nodeId, name, presence });

export const placement = {
  ns,
  key,
  policy: { replicas: 2, diversity: { dc: 2 }, required: {}, forbidden: {} },
  desired: [n1, n2],
  substitutes: [],
  lacks: [],
};

export const degradedPlacement = {
  ...placement,
  policy: { ...placement.policy, diversity: { dc: 3 } },
  lacks: [
    {
      kind: 'diversity',
      label: 'dc',
      wanted: 3,
      placed: 2,
      message: 'holders with 3 different values of dc are asked for, and there are 2',
      advice: 'give a storage node another dc, admit one that has it, or lower the policy’s diversity',
    },
  ],
};

export const previewRequest = { change: { kind: 'leave', nodeId: nodeB } };
export const joinRequest = { change: { kind: 'join', labels: { dc: 'dc3' }, capacity: 20 }, limit: 10 };
export const preview = {
  moves: [{ ns, key, version, size: 33, from: [nodeB], to: [nodeC], lacks: [] }],
  totals: { subjects: 31, moved: 1, copies: 1, bytes: 33, degraded: 0 },
  nodes: [
    { nodeId: nodeC, name: 'n3', contentsIn: 1, bytesIn: 33, contentsOut: 0, bytesOut: 0 },
    { nodeId: nodeB, name: 'n2', contentsIn: 0, bytesIn: 0, contentsOut: 1, bytesOut: 33 },
  ],
  next: null,
};

const totals = {
  subjects: 31,
  healthy: 30,
  under: 1,
  mis: 0,
  over: 0,
  unreachable: 0,
  degraded: 0,
  pulls: 0,
  pullBytes: 0,
  waitingPulls: 1,
  waitingBytes: 33,
  surplusCopies: 0,
  surplusBytes: 0,
};
const repairs = { pulls: 0, bytes: 0, bytesPerSecond: 0, etaMs: 0 };

export const status = {
  totals,
  complete: true,
  healthy: false,
  repairs,
  running: false,
  lastAudit: { time, nodeId: nodeA, name: 'n1' },
  auditors: [
    {
      nodeId: nodeA,
      name: 'n1',
      running: null,
      last: {
        reason: 'liveness',
        time: time - 12,
        tookMs: 12,
        totals,
        cut: false,
        suspects: 0,
        checks: { proved: 30, lacking: 0, wrong: 0, unreachable: 1 },
      },
      repairs,
    },
  ],
  intents: { pending: 0, late: 0 },
  unanswered: [asNamed(n2)],
};

export const plan = {
  repairs: [
    {
      ns,
      key,
      version,
      size: 33,
      to: nodeC,
      from: [nodeA],
      provedCopies: 1,
      waiting: { for: [nodeB], until: time + 600_000 },
    },
  ],
  next: null,
  unanswered: [asNamed(n2)],
};

export const auditRuns = {
  complete: false,
  auditors: [{ nodeId: nodeA, name: 'n1', state: 'running' }],
  status: null,
  unanswered: [asNamed(n2)],
};
export const auditDone = {
  ...auditRuns,
  complete: true,
  auditors: [{ nodeId: nodeA, name: 'n1', state: 'done' }],
  status,
};

export const replicas = {
  ...placement,
  versions: [
    {
      version,
      manifest,
      size: 33,
      holders: [
        { ...n1, desired: true, proved: true, provedAt: time, suspect: false },
        { ...n3, desired: false, proved: false, provedAt: null, suspect: true },
      ],
      missing: [n2],
    },
  ],
  next: null,
  unanswered: [asNamed(n2)],
};

export const drain = {
  ...n3,
  draining: true,
  contents: 31,
  remaining: 1,
  remainingBytes: 33,
  unreadable: 0,
  intents: 0,
  safe: false,
  unanswered: [],
};
export const drained = { ...drain, remaining: 0, remainingBytes: 0, safe: true };
