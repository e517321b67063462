import { toBase32 } from '../../../crdt/digest.ts';
import { type DocumentState, documentDigest } from '../../../crdt/document-digest.ts';
import type { VersionId } from '../../../crdt/ids.ts';
import { buildChange, documentId, slotOf } from '../../../crdt/object-document.ts';
import { testCluster } from '../versions.ts';
import { sampleHistory } from './version.ts';

const names: readonly [ns: string, key: string][] = [
  ['docs', 'notes/today.txt'],
  ['docs', 'notes'],
  ['do', 'cs/notes'],
  ['files', 'grüße/𝄞.bin'],
];

export function objectDocumentVectors() {
  const hashes = new Map<VersionId, string>();
  const sample = sampleHistory();
  const heads = [sample.first.id, sample.removed.id].sort();
  const [first, second] = heads as [VersionId, VersionId];
  return {
    about:
      "A document id is BLAKE3 of anabranch/document/1, the cluster, the namespace and the key with zero bytes between, in base32; its slot is its last two bytes, big-endian, modulo the slots. A change is what Automerge.encodeChange makes of a version and the hashes of its parents' changes (actor = version id, seq 1, startOp = generation, time 0, no message, one op that sets v/<version id> to the record's text); its hash is SHA-256 of the bytes after the first eight. The digest of a document's state is BLAKE3 of anabranch/document-state/2 and a zero byte, the document id (32 bytes), the certified and the confirmed link (the position as 8 bytes, big-endian, and the head's 32 bytes; position 0 alone for none) and the heads' 32 bytes each, in base32.",
    cluster: testCluster,
    documents: names.map(([ns, key]) => {
      const id = documentId(testCluster, ns, key);
      return { ns, key, id, slots: [1, 2, 16, 4_096].map((slots) => ({ slots, slot: slotOf(id, slots) })) };
    }),
    changes: Object.entries(sample).map(([name, version]) => {
      const parentHashes = version.record.parents.map((parent) => hashes.get(parent) ?? '');
      const change = buildChange(version, parentHashes);
      hashes.set(version.id, change.hash);
      const { id, text } = version;
      return {
        name,
        version: id,
        text,
        parentHashes,
        bytes: Buffer.from(change.bytes).toString('base64'),
        hash: change.hash,
      };
    }),
    heads: [sample.removed.id],
    states: [
      stateVector({ heads: [] }),
      stateVector({ heads }),
      stateVector({ heads, certified: { position: 1, head: first } }),
      stateVector({ heads, certified: { position: 1, head: first }, confirmed: { position: 1, head: first } }),
      stateVector({ heads, certified: { position: 300, head: first }, confirmed: { position: 2, head: second } }),
    ],
  };
}

function stateVector(state: DocumentState) {
  const document = documentId(testCluster, 'docs', 'notes');
  return { document, ...state, digest: toBase32(documentDigest(document, state)) };
}
