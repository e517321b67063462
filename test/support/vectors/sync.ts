import { blake3, toHex } from '../../../crdt/digest.ts';
import { childrenOf, type Item, isLeaf, type Prefix, type Summary, summaryOf } from '../../../crdt/fingerprint-tree.ts';
import { answerRanges, Reconciliation } from '../../../crdt/reconcile.ts';
import {
  decodeSyncRequest,
  decodeSyncResponse,
  encodeSyncMessage,
  type SyncRequest,
  type SyncResponse,
} from '../../../protocols/sync/messages.ts';
import { encodeCbor } from '../../../protocols/wire/cbor.ts';
import { packAnswer, packChanges, packRange, unpackAnswer, unpackRange } from '../../../protocols/wire/item-sets.ts';
import { testNode, write } from '../versions.ts';
import { MemoryTree } from './memory-tree.ts';
import { messageVectors, refusedVectors, type Samples } from './messages.ts';

const slot = 5;
const hashOf = (text: string): Uint8Array => blake3(Buffer.from(text));
const item = (at: number, state = 0): Item => ({ key: hashOf(`item ${at}`), value: hashOf(`state ${at} ${state}`) });
const itemsTo = (count: number): Item[] => Array.from({ length: count }, (_, at) => item(at));

const raw = hashOf('a document');
const head = hashOf('a head');
const small: Item = { key: raw, value: hashOf('a state') };
const root = { set: slot, prefix: [], summary: summaryOf(MemoryTree.of(itemsTo(2)), []) };
const deep = { set: 15, prefix: [0, 15, 9], summary: summaryOf(MemoryTree.of([]), []) };
const record = Buffer.from(write(testNode('north'), []).text);

const requests: Samples<SyncRequest> = {
  feed: [
    { t: 'feed', feed: null, after: 0 },
    { t: 'feed', feed: 'abcdefghijklm', after: 7 },
  ],
  ranges: [{ t: 'ranges', ranges: [packRange(root), packRange(deep)] }],
  records: [
    { t: 'records', wants: [{ doc: raw, have: [] }] },
    {
      t: 'records',
      wants: [{ doc: raw, have: [head], confirmed: { position: 3, head } }],
      along: 4_096,
    },
  ],
  fetch: [{ t: 'fetch', versions: [head, raw] }],
  offer: [{ t: 'offer', docs: [{ doc: raw, heads: [head] }] }],
};

const responses: Samples<SyncResponse> = {
  feed: [
    {
      t: 'feed',
      feed: 'abcdefghijklm',
      last: 9,
      through: 8,
      entries: packChanges([small]),
      time: 1_751_360_400_000,
    },
    { t: 'feed', feed: 'abcdefghijklm', last: 9, through: 9, entries: null },
  ],
  ranges: [
    {
      t: 'ranges',
      answers: [
        packAnswer({ kind: 'same' }),
        packAnswer({ kind: 'later' }),
        packAnswer({ kind: 'items', items: [small] }),
      ],
    },
    {
      t: 'ranges',
      answers: [packAnswer({ kind: 'split', children: childrenOf(MemoryTree.of(itemsTo(40)), []) })],
    },
  ],
  records: [
    { t: 'records', texts: [record] },
    { t: 'records', texts: [record], contents: [Buffer.from('north')] },
  ],
  certificates: [{ t: 'certificates', texts: ['a certificate as in certificate.json'] }],
  done: [
    { t: 'done', more: true },
    { t: 'done', more: false },
  ],
  offered: [{ t: 'offered', lacks: [0, 255] }],
};

const range = packRange(root);
const refusedRequests: Readonly<Record<string, Uint8Array>> = {
  'no CBOR': Uint8Array.of(0xff),
  'another message': encodeCbor({ t: 'push' }),
  'a field too many': encodeCbor({ t: 'feed', feed: null, after: 0, extra: 1 }),
  'no ranges': encodeCbor({ t: 'ranges', ranges: [] }),
  'a slot beyond all': encodeCbor({ t: 'ranges', ranges: [[4_096, range[1], range[2]]] }),
  'a step of five bits': encodeCbor({ t: 'ranges', ranges: [[0, Uint8Array.of(16), range[2]]] }),
  'a prefix of 17 steps': encodeCbor({ t: 'ranges', ranges: [[0, new Uint8Array(17), range[2]]] }),
  'a summary cut short': encodeCbor({ t: 'ranges', ranges: [[0, range[1], range[2].subarray(1)]] }),
  'a document id cut short': encodeCbor({ t: 'records', wants: [{ doc: raw.subarray(1), have: [] }] }),
  'contents beyond 4 KiB': encodeCbor({ t: 'records', wants: [], along: 4_097 }),
  'a confirmed link without a position': encodeCbor({
    t: 'records',
    wants: [{ doc: raw, have: [], confirmed: { head } }],
  }),
};
const refusedResponses: Readonly<Record<string, Uint8Array>> = {
  'half an item': encodeCbor({ t: 'ranges', answers: [{ items: new Uint8Array(96) }] }),
  '15 summaries': encodeCbor({ t: 'ranges', answers: [{ split: new Uint8Array(300) }] }),
  'an answer of another kind': encodeCbor({ t: 'ranges', answers: [2] }),
  'a text for a record': encodeCbor({ t: 'records', texts: ['{}'] }),
  'no certificates': encodeCbor({ t: 'certificates', texts: [] }),
  'done without a word on more': encodeCbor({ t: 'done' }),
  'a place beyond 256 wants': encodeCbor({ t: 'done', more: false, partial: [256] }),
};

const summary = ({ count, fingerprint }: Summary) => ({ count, fingerprint: toHex(fingerprint) });

function treeOf(count: number, prefix: Prefix = []) {
  const tree = MemoryTree.of(itemsTo(count));
  const split = isLeaf(tree, prefix) ? {} : { split: childrenOf(tree, prefix).map(summary) };
  return { items: count, prefix, ...summary(summaryOf(tree, prefix)), ...split };
}

/** A whole reconciliation, message for message, between sets that differ in three items. */
function exchange() {
  const asker = MemoryTree.of(itemsTo(700).filter((_, at) => at !== 7));
  const answerer = MemoryTree.of([...itemsTo(698), item(698, 1)]);
  const reconciliation = new Reconciliation(() => asker, [slot]);
  const messages: { request: string; response: string }[] = [];
  const differences: { key: string; asker: string | null; answerer: string | null }[] = [];
  const text = (value: Uint8Array | undefined): string | null => (value === undefined ? null : toHex(value));
  for (let asked = reconciliation.ask(); asked.length > 0; asked = reconciliation.ask()) {
    const ranges = asked.map(packRange);
    const answers = answerRanges((set) => (set === slot ? answerer : undefined), ranges.map(unpackRange)).map(
      packAnswer,
    );
    messages.push({
      request: toHex(encodeSyncMessage({ t: 'ranges', ranges })),
      response: toHex(encodeSyncMessage({ t: 'ranges', answers })),
    });
    for (const { key, ours, theirs } of reconciliation.take(answers.map(unpackAnswer))) {
      differences.push({ key: toHex(key), asker: text(ours), answerer: text(theirs) });
    }
  }
  return { slot, messages, differences };
}

export function syncVectors() {
  return {
    about:
      'Sync. Messages of /anabranch/sync/1.0.0 are CBOR, in hex; a byte string of one is {"hex": …} in `message`. Item n of `trees` and of `exchange` has BLAKE3 of `item <n>` for its key and BLAKE3 of `state <n> 0` for its value. `trees`: what the tree of so many items, 0 and up, says of the range of a prefix, and, where it is split, of the 16 ranges below. `exchange`: the asker has the items 0 to 699 but 7; the answerer has 0 to 697, and 698 with the value BLAKE3 of `state 698 1`; all that is said about ranges until the differences are known, null for what a side does not have.',
    requests: messageVectors(requests, encodeSyncMessage),
    responses: messageVectors(responses, encodeSyncMessage),
    refusedRequests: refusedVectors(refusedRequests, decodeSyncRequest),
    refusedResponses: refusedVectors(refusedResponses, decodeSyncResponse),
    trees: [treeOf(0), treeOf(1), treeOf(32), treeOf(33), treeOf(700), treeOf(700, [3]), treeOf(700, [3, 12])],
    exchange: exchange(),
  };
}
