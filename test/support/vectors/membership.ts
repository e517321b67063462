import { decodeCanonical, encodeCanonical } from '../../../crdt/canonical-json.ts';
import { toHex } from '../../../crdt/digest.ts';
import { decodeDescriptor } from '../../../crdt/membership-descriptor.ts';
import { membershipDigest, packStamps, withDescriptors } from '../../../crdt/membership-set.ts';
import { encodeHeartbeat, type Heartbeat } from '../../../protocols/membership/heartbeat.ts';
import {
  decodeMembershipRequest,
  decodeMembershipResponse,
  encodeDescriptorGossip,
  encodeMembershipMessage,
  type MembershipRequest,
  type MembershipResponse,
} from '../../../protocols/membership/messages.ts';
import { encodeCbor } from '../../../protocols/wire/cbor.ts';
import { descriptorOf } from '../descriptors.ts';
import { accepted, refusal, testCluster, testNode } from '../versions.ts';
import { messageVectors, refusedVectors, type Samples } from './messages.ts';

const north = testNode('north');
const south = testNode('south');

export function membershipVectors() {
  const plain = descriptorOf(north);
  const full = descriptorOf(south, {
    sequence: 12,
    addresses: ['/dns4/south.example/tcp/443', '/ip6/2001:db8::1/tcp/7401'],
    url: 'https://south.example:7400',
    labels: { dc: 'b', rack: 'b2' },
  });
  const set = withDescriptors(new Map(), [full, plain]);
  const heartbeat: Heartbeat = {
    nodeId: south.nodeId,
    descriptor: 12,
    sequence: 3,
    capacityBytes: 500_000_000_000,
    freeBytes: 200_000_000_000,
    status: 'ready',
    load: 4,
    members: membershipDigest(set),
  };
  const requests: Samples<MembershipRequest> = {
    compare: [{ t: 'compare', digest: membershipDigest(set) }],
    fetch: [{ t: 'fetch', nodes: [north.nodeId, south.nodeId] }],
  };
  const responses: Samples<MembershipResponse> = {
    same: [{ t: 'same' }],
    stamps: [{ t: 'stamps', stamps: packStamps(set) }],
    descriptors: [
      { t: 'descriptors', texts: [plain.text] },
      { t: 'descriptors', texts: [] },
    ],
  };
  const stated = accepted(decodeCanonical(plain.text, plain.text.length)) as Record<string, unknown>;
  const changed = (change: object): string => encodeCanonical({ ...stated, ...change });
  const refused = (why: string, text: string) => ({ why, text, reason: refusal(decodeDescriptor(text)) });
  return {
    about:
      'A descriptor is canonical JSON; its signature is over BLAKE3 of the text without sig, under anabranch/descriptor/1/<cluster>. Stamps are 32 bytes a node, by node id: the id, the sequence (u64), and 8 bytes of BLAKE3 of the text; the digest is the first 16 bytes of BLAKE3 of anabranch/membership/1 NUL and the stamps. A heartbeat is CBOR of {v, beat, sig}: beat is CBOR, and the signature is over its BLAKE3 under anabranch/heartbeat/1/<cluster>. `requests` and `responses` are messages of /anabranch/membership/1.0.0, `gossip` is one with both descriptors: CBOR, in hex; a byte string of a message is {"hex": …}.',
    cluster: testCluster,
    keys: [north, south].map(({ nodeId, signer }) => ({ nodeId, publicKey: toHex(signer.publicKey) })),
    descriptors: [plain, full].map(({ text }) => text),
    stamps: toHex(packStamps(set)),
    digest: toHex(membershipDigest(set)),
    emptyDigest: toHex(membershipDigest(new Map())),
    refused: [
      refused('no canonical form', `${plain.text} `),
      refused('a field too many', changed({ extra: 1 })),
      refused('another version', changed({ v: 2 })),
      refused('no node id', changed({ nodeId: 'north' })),
      refused('sequence 0', changed({ sequence: 0 })),
      refused('a sequence that is not whole', changed({ sequence: 1.5 })),
      refused('no multiaddr', changed({ addresses: ['10.0.0.7:7401'] })),
      refused('too many addresses', changed({ addresses: Array(17).fill('/ip4/10.0.0.7/tcp/1') })),
      refused('a url of another kind', changed({ url: 'file:///etc/passwd' })),
      refused('labels of another kind', changed({ labels: { DC: 'x' } })),
      refused('a negative capacity', changed({ capacityBytes: -1 })),
      refused('no version', changed({ version: '' })),
      refused('a version with a line break', changed({ version: '1\n2' })),
      refused('no time', changed({ time: null })),
      refused('half a signature', changed({ sig: 'AAAA' })),
      refused('too long', changed({ url: `https://${'a'.repeat(9_000)}` })),
    ],
    heartbeat: {
      ...heartbeat,
      members: toHex(heartbeat.members),
      bytes: toHex(encodeHeartbeat(heartbeat, south.signer, testCluster)),
    },
    gossip: toHex(encodeDescriptorGossip([plain, full])),
    requests: messageVectors(requests, encodeMembershipMessage),
    responses: messageVectors(responses, encodeMembershipMessage),
    refusedRequests: refusedVectors(
      {
        'a digest cut short': encodeCbor({ t: 'compare', digest: new Uint8Array(15) }),
        'nobody to fetch': encodeCbor({ t: 'fetch', nodes: [] }),
        'no node id': encodeCbor({ t: 'fetch', nodes: ['north'] }),
      },
      decodeMembershipRequest,
    ),
    refusedResponses: refusedVectors(
      {
        'a stamp for a text': encodeCbor({ t: 'stamps', stamps: '' }),
        'a field too many': encodeCbor({ t: 'same', digest: membershipDigest(set) }),
      },
      decodeMembershipResponse,
    ),
  };
}
