import type { Role } from '../../../crdt/control/member.ts';
import { toHex } from '../../../crdt/digest.ts';
import { SlotPlacement } from '../../../crdt/slot-placement.ts';
import { SlotSet } from '../../../crdt/slot-set.ts';
import {
  decodeMetadataRequest,
  decodeMetadataResponse,
  encodeMetadataMessage,
  type MetadataRequest,
  type MetadataResponse,
} from '../../../protocols/metadata/messages.ts';
import { encodeSyncMessage, type SyncRequest, type SyncResponse } from '../../../protocols/sync/messages.ts';
import { encodeCbor } from '../../../protocols/wire/cbor.ts';
import { testNode } from '../versions.ts';
import { refusedVectors } from './messages.ts';

const version = 'a'.repeat(52) as never;
const raw = new Uint8Array(32).fill(7);

export function slotVectors() {
  const sets = [
    { count: 1, slots: [0] },
    { count: 2, slots: [1] },
    { count: 16, slots: [] },
    { count: 16, slots: [0, 7, 8, 15] },
    { count: 64, slots: [3, 63] },
  ];
  const members = Array.from({ length: 9 }, (_, at) => {
    const roles: readonly Role[] = at === 0 ? ['coordinator', 'storage'] : at === 8 ? ['agent'] : ['storage'];
    return { nodeId: testNode(`member ${at}`).nodeId, roles };
  });
  const rules = { threshold: 8, replicas: 2 };
  const placement = new SlotPlacement(members, 16, rules);
  const slots = SlotSet.of(16, [0, 15]).encode();
  const sync: (SyncRequest | SyncResponse)[] = [
    { t: 'feed', feed: 'a', after: 1, slots },
    { t: 'feed', feed: 'a', last: 2, through: 2, entries: new Uint8Array(0), slots: { kept: slots, whole: slots } },
    { t: 'offer', docs: [{ doc: raw, heads: [raw], confirmed: { position: 1, head: raw } }] },
    { t: 'offered', lacks: [0] },
    { t: 'done', more: false, partial: [0, 2] },
  ];
  const metadata: (MetadataRequest | MetadataResponse)[] = [
    { t: 'objects', slots, ns: 'notes', prefix: 'a/', delimiter: '/', after: null, limit: 10 },
    { t: 'conflicts', slots, ns: null, after: 'notes/a', limit: 10 },
    {
      t: 'objects',
      objects: [{ key: 'a', version, heads: 1, size: 3, state: 'confirmed', time: 1_751_360_400_000 }],
      prefixes: ['b/'],
      next: 'b/',
    },
    { t: 'conflicts', conflicts: [{ ns: 'notes', key: 'a', heads: [version], preferred: version }], next: null },
    { t: 'elsewhere' },
  ];
  return {
    about:
      'Slots. `sets`: a set of slots as bytes, in hex. `placement`: of these members each slot is held by those of its line, the ones placed by rendezvous hashing first and the coordinators after them. `sync` and `metadata`: messages as CBOR, in hex; what is refused is none of `metadata`.',
    sets: sets.map(({ count, slots: own }) => ({ count, slots: own, bytes: toHex(SlotSet.of(count, own).encode()) })),
    placement: {
      slots: 16,
      ...rules,
      members,
      holders: Array.from({ length: 16 }, (_, slot) => placement.holdersOf(slot)),
    },
    sync: sync.map((message) => ({ t: message.t, bytes: toHex(encodeSyncMessage(message)) })),
    metadata: metadata.map((message) => ({ t: message.t, bytes: toHex(encodeMetadataMessage(message)) })),
    refusedRequests: refusedVectors(
      {
        'a page of nothing': encodeCbor({ t: 'conflicts', slots, ns: null, after: null, limit: 0 }),
        'a page of more than 1,000': encodeCbor({ t: 'conflicts', slots, ns: null, after: null, limit: 1_001 }),
        'no set of slots': encodeCbor({ t: 'conflicts', slots: new Uint8Array(0), ns: null, after: null, limit: 1 }),
        'a set of more than 4,096 slots': encodeCbor({
          t: 'conflicts',
          slots: new Uint8Array(513),
          ns: null,
          after: null,
          limit: 1,
        }),
      },
      decodeMetadataRequest,
    ),
    refusedResponses: refusedVectors(
      {
        'no version': encodeCbor({
          t: 'conflicts',
          conflicts: [{ ns: 'a', key: 'a', heads: [], preferred: 'a' }],
          next: null,
        }),
        'a page without an end': encodeCbor({ t: 'objects', objects: [], prefixes: [] }),
      },
      decodeMetadataResponse,
    ),
  };
}
