import { blobHashOf, rawHash, toHex } from '../../../crdt/digest.ts';
import { summaryOf } from '../../../crdt/fingerprint-tree.ts';
import type { NodeId, PeerId, VersionId } from '../../../crdt/ids.ts';
import { ReplicaProof } from '../../../crdt/replica-proof.ts';
import {
  decodeReplicaRequest,
  decodeReplicaResponse,
  encodeReplicaMessage,
  packProof,
  type ReplicaRequest,
  type ReplicaResponse,
} from '../../../protocols/replicas/messages.ts';
import { encodeCbor } from '../../../protocols/wire/cbor.ts';
import { packAnswer, packChanges, packRange } from '../../../protocols/wire/item-sets.ts';
import { valueOfSize } from '../../../src/replication/journaled-set.ts';
import { patternBytes } from './digest.ts';
import { MemoryTree } from './memory-tree.ts';
import { messageVectors, refusedVectors } from './messages.ts';
import { replicaViewRequests, replicaViewResponses } from './replica-views.ts';

const prover = '12D3KooWGRUfQ1dQZ6iSzSJj3d8xkqYcPd7d1pYH9HVzxaEsCq4T' as PeerId;
const node = 'a'.repeat(26) as NodeId;
const blobs = [0, 5, 300].map((length) => {
  const bytes = patternBytes(length);
  return { hash: blobHashOf(bytes), bytes };
});
const [empty, short, long] = blobs as [(typeof blobs)[number], (typeof blobs)[number], (typeof blobs)[number]];
const nonce = patternBytes(32);
const raw = rawHash(long.hash);

function proofOf(manifest: (typeof blobs)[number], ...chunks: typeof blobs): string {
  const proof = new ReplicaProof({ nonce, prover, manifest: manifest.hash });
  for (const { hash, bytes } of [manifest, ...chunks]) proof.add(hash, bytes);
  return toHex(proof.digest());
}

function summaryOfInventory(): { count: number; fingerprint: string } {
  const tree = MemoryTree.of(
    blobs.map(({ hash, bytes }) => ({ key: rawHash(hash), value: valueOfSize(bytes.length) })),
  );
  const { count, fingerprint } = summaryOf(tree, []);
  return { count, fingerprint: toHex(fingerprint) };
}

const question = { set: 0, prefix: [1, 15], summary: { count: 2, fingerprint: patternBytes(16) } };
const items = [{ key: rawHash(long.hash), value: valueOfSize(300) }];
const changes = [...items, { key: rawHash(short.hash), value: undefined }];

const requests: Readonly<Record<string, ReplicaRequest>> = {
  'the feed from its start': { t: 'feed', feed: null, after: 0 },
  'the feed after a change': { t: 'feed', feed: 'abcdefghijklm', after: 7 },
  'a range': { t: 'ranges', ranges: [packRange(question)] },
  'a challenge at two points': { t: 'prove', nonce, items: [{ manifest: rawHash(long.hash), points: [0, 299] }] },
  'a challenge of everything, with a lease': {
    t: 'prove',
    nonce,
    lease: 60_000,
    items: [{ manifest: rawHash(long.hash) }],
  },
  'an order': {
    t: 'order',
    items: [
      {
        ns: 'docs',
        key: 'a/b',
        version: rawHash(short.hash as string as VersionId),
        manifest: rawHash(long.hash),
        holders: [node],
      },
    ],
  },
  'a check': { t: 'check', items: [{ manifest: rawHash(long.hash), node, points: [0] }] },
};

const responses: Readonly<Record<string, ReplicaResponse>> = {
  'changes of the feed': { t: 'feed', feed: 'abcdefghijklm', last: 9, through: 9, entries: packChanges(changes) },
  'a feed that cannot be followed': { t: 'feed', feed: 'abcdefghijklm', last: 9, through: 9, entries: null },
  'answers about ranges': {
    t: 'ranges',
    answers: [packAnswer({ kind: 'same' }), packAnswer({ kind: 'later' }), packAnswer({ kind: 'items', items })],
  },
  'a sign of life': { t: 'working' },
  proofs: { t: 'proofs', answers: [packProof(patternBytes(32)), packProof('lacking'), packProof('busy')] },
  'orders taken': { t: 'ordered', taken: 1 },
  'checks made': { t: 'checked', results: ['proved', 'lacking', 'wrong', 'unreachable'] },
};

export function replicaVectors() {
  const hexOf = (messages: Readonly<Record<string, ReplicaRequest | ReplicaResponse>>) =>
    Object.entries(messages).map(([name, message]) => ({ name, hex: toHex(encodeReplicaMessage(message)) }));
  return {
    about:
      'Replicas. Blobs are the bytes 0, 1, ... 250, 0, 1, ... of a length, as in digest.json, and stand for manifests and chunks alike. A proof is keyed BLAKE3 under the nonce over BLAKE3 of `anabranch/proof/1` NUL, the prover, NUL, the 32 bytes of the manifest, and for each blob in order its 32 bytes of hash and the keyed BLAKE3 of its bytes. `inventory` is the root summary of the set of the three blobs with their lengths as sizes. Messages of /anabranch/replicas/1.0.0 are CBOR, in hex; those of `views` are what members ask coordinators, and a byte string of one is {"hex": …} in `message`.',
    nonce: toHex(nonce),
    prover,
    blobs: blobs.map(({ hash, bytes }) => ({ length: bytes.length, hash })),
    proofs: [
      { manifest: empty.hash, chunks: [], proof: proofOf(empty) },
      { manifest: short.hash, chunks: [long.hash], proof: proofOf(short, long) },
      { manifest: short.hash, chunks: [long.hash, empty.hash], proof: proofOf(short, long, empty) },
    ],
    values: [0, 300, Number.MAX_SAFE_INTEGER].map((size) => ({ size, value: toHex(valueOfSize(size)) })),
    inventory: summaryOfInventory(),
    requests: hexOf(requests),
    responses: hexOf(responses),
    refusedRequests: refusedVectors(
      {
        'nothing to prove': encodeCbor({ t: 'prove', nonce, items: [] }),
        'points that do not ascend': encodeCbor({ t: 'prove', nonce, items: [{ manifest: raw, points: [5, 5] }] }),
        'a lease for some points': encodeCbor({ t: 'prove', nonce, lease: 1, items: [{ manifest: raw, points: [0] }] }),
        'a lease of more than an hour': encodeCbor({ t: 'prove', nonce, lease: 3_600_001, items: [{ manifest: raw }] }),
        'a nonce cut short': encodeCbor({ t: 'prove', nonce: nonce.subarray(1), items: [{ manifest: raw }] }),
        'a check of nobody': encodeCbor({ t: 'check', items: [{ manifest: raw, node: 'north', points: [0] }] }),
        'a wait of more than 30 s': encodeCbor({ t: 'audit', wait: 30_001 }),
        'a change of another kind': encodeCbor({ t: 'preview', change: { kind: 'join', node }, after: null, moves: 1 }),
      },
      decodeReplicaRequest,
    ),
    refusedResponses: refusedVectors(
      {
        'a proof that is neither': encodeCbor({ t: 'proofs', answers: [2] }),
        'a proof cut short': encodeCbor({ t: 'proofs', answers: [raw.subarray(1)] }),
        'half a change': encodeCbor({ t: 'feed', feed: 'a', last: 1, through: 1, entries: new Uint8Array(96) }),
        'an unknown result': encodeCbor({ t: 'checked', results: ['maybe'] }),
      },
      decodeReplicaResponse,
    ),
    views: {
      requests: messageVectors(replicaViewRequests, encodeReplicaMessage),
      responses: messageVectors(replicaViewResponses, encodeReplicaMessage),
    },
  };
}
