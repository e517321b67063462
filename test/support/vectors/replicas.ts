import { blobHashOf, rawHash, toHex } from '../../../crdt/digest.ts';
import { type Prefix, setItems, summaryOf, type TreeWriter } from '../../../crdt/fingerprint-tree.ts';
import type { NodeId, PeerId, VersionId } from '../../../crdt/ids.ts';
import { ReplicaProof } from '../../../crdt/replica-proof.ts';
import {
  encodeReplicaMessage,
  packProof,
  type ReplicaRequest,
  type ReplicaResponse,
} from '../../../protocols/replicas/messages.ts';
import { packAnswer, packChanges, packRange } from '../../../protocols/wire/item-sets.ts';
import { valueOfSize } from '../../../src/replication/journaled-set.ts';
import { patternBytes } from './digest.ts';

const prover = '12D3KooWGRUfQ1dQZ6iSzSJj3d8xkqYcPd7d1pYH9HVzxaEsCq4T' as PeerId;
const node = 'a'.repeat(26) as NodeId;
const blobs = [0, 5, 300].map((length) => {
  const bytes = patternBytes(length);
  return { hash: blobHashOf(bytes), bytes };
});
const [empty, short, long] = blobs as [(typeof blobs)[number], (typeof blobs)[number], (typeof blobs)[number]];
const nonce = patternBytes(32);

class MemoryTree implements TreeWriter {
  readonly #rows = new Map<string, Uint8Array>();
  row(prefix: Prefix): Uint8Array | undefined {
    return this.#rows.get(prefix.join());
  }
  putRow(prefix: Prefix, row: Uint8Array): void {
    this.#rows.set(prefix.join(), row);
  }
  deleteRow(prefix: Prefix): void {
    this.#rows.delete(prefix.join());
  }
}

function proofOf(manifest: (typeof blobs)[number], ...chunks: typeof blobs): string {
  const proof = new ReplicaProof({ nonce, prover, manifest: manifest.hash });
  for (const { hash, bytes } of [manifest, ...chunks]) proof.add(hash, bytes);
  return toHex(proof.digest());
}

function summaryOfInventory(): { count: number; fingerprint: string } {
  const tree = new MemoryTree();
  const changes = blobs.map(({ hash, bytes }) => ({ key: rawHash(hash), value: valueOfSize(bytes.length) }));
  setItems(
    tree,
    changes.sort((left, right) => Buffer.compare(left.key, right.key)),
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
      'Replicas. Blobs are the bytes 0, 1, ... 250, 0, 1, ... of a length, as in digest.json, and stand for manifests and chunks alike. A proof is keyed BLAKE3 under the nonce over BLAKE3 of `anabranch/proof/1` NUL, the prover, NUL, the 32 bytes of the manifest, and for each blob in order its 32 bytes of hash and the keyed BLAKE3 of its bytes. `inventory` is the root summary of the set of the three blobs with their lengths as sizes. Messages of /anabranch/replicas/1.0.0 are CBOR, in hex.',
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
  };
}
