/** The story of `examples.ts` goes on: node n3 is admitted by the one coordinator of the cluster. */

const cluster = 'iz7zyfgim3srjncnan2q6ovq5od52ebv6rxg7mc5ftiblxamuw5q';
const hash = 'b7a3sirmkgiwscyf27qr3jziuub4kp43yhw2jcxvpqcqckhxanra';
const root = 'lh3xsmzd5txmzblf7qiyi73xvyztu6er5q7z2s3dfihfwsoy3atq';
const sibling = 'zabsddvdynhodntr4vcwfnun24fngj2uqfmzhndedqazobc5b3ga';
const nodeA = 'ly7nosw4ggaaled6pdwj46iepq';
const nodeC = '6ygitilw4io3owygr557wh2ose';
const operationId = 'k5sh3k2jq7v6x4m2n3p5r7t2wa';

export const committed = { seq: 1, hash, operationId };

export const admitted = {
  name: 'n3',
  nodeId: nodeC,
  peerId: '12D3KooWRTEr6tWr9ZhMbrCftCMSXaXCQ474NssjbmT9cdCu1y9E',
  addresses: ['/ip4/127.0.0.1/tcp/41003'],
  roles: ['storage'],
  labels: { dc: 'dc2' },
};

const certificate = {
  statement: {
    v: 1,
    register: 'control-log',
    epoch: 1,
    position: 1,
    head: hash,
    previous: null,
    ballot: { counter: 1, proposer: `${nodeA}.t4j3a2rd2kwly` },
  },
  signatures: [[nodeA, 'A'.repeat(86)]],
};

export const logListing = {
  entries: [
    {
      seq: 1,
      hash,
      entry: {
        v: 1,
        seq: 1,
        previous: cluster,
        root: sibling,
        operations: [{ id: operationId, type: 'admit', member: admitted }],
        actor: 'admin',
        reason: 'the new machine in the second centre',
        time: 1_751_360_400_000,
        epoch: 1,
      },
      certificate,
    },
  ],
  next: null,
};

export const genesis = {
  cluster: 'laptop',
  members: [
    {
      addresses: ['/ip4/127.0.0.1/tcp/41001'],
      labels: { dc: 'dc1' },
      name: 'n1',
      nodeId: nodeA,
      peerId: '12D3KooWMy3MXPSxqhE1wgUreEis3zKiGgGHaYmoUynM8CcWqF8G',
      roles: ['coordinator', 'storage'],
    },
  ],
  seed: 'aeaqcaibaeaqcaibaeaqcaibae',
  v: 1,
};

export const checkpoint = { cluster, size: 2, root, certificate };
export const inclusionProof = { seq: 1, hash, size: 2, root, path: [sibling] };
export const consistencyProof = { first: 1, size: 2, root, path: [sibling] };

export const namespace = {
  ns: 'team-docs',
  policy: { replicas: 3, diversity: { dc: 2 } },
  effective: {
    replicas: 3,
    diversity: { dc: 2 },
    required: {},
    forbidden: {},
    chunking: { algorithm: 'fastcdc-1', min: 131_072, average: 524_288, max: 2_097_152 },
    readMode: 'preferred',
  },
};

export const scopeConfiguration = { scope: 'cluster', values: { cleanup: { dailyAt: '03:00' } } };
export const configuration = { configuration: [scopeConfiguration] };

export const carryOver = { epoch: 2, carried: 9, done: 12, total: 31, complete: false };
