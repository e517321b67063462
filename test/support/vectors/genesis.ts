import { encodeCanonical } from '../../../crdt/canonical-json.ts';
import { toBase32 } from '../../../crdt/digest.ts';
import { decodeGenesis, encodeGenesis, type Genesis, type Member } from '../../../crdt/genesis.ts';
import { peerIdOf } from '../../../crdt/signature.ts';
import { accepted, testNode } from '../versions.ts';

function member(name: string, addresses: readonly string[]): Member {
  const { nodeId, signer } = testNode(name);
  return { name, nodeId, peerId: peerIdOf(signer.publicKey), addresses };
}

export function genesisVectors() {
  const seed = toBase32(new Uint8Array(32).fill(7));
  const first = member('n1', ['/ip4/127.0.0.1/tcp/4001', '/dns4/n1.example/tcp/443']);
  const second = member('n2', []);
  const small: Genesis = { v: 1, cluster: 'one', seed: toBase32(new Uint8Array(16)), members: [first] };
  const pair: Genesis = { v: 1, cluster: 'pair', seed, members: [first, second] };
  const roles: Genesis = {
    v: 1,
    cluster: 'roles',
    seed,
    members: [
      { ...first, roles: ['coordinator', 'storage'], labels: { dc: 'a', rack: 'a4' } },
      { ...second, roles: ['agent'] },
    ],
  };
  const slotted: Genesis = { ...pair, slots: 4_096 };
  const changed = (change: object): string => encodeCanonical({ ...pair, ...change });
  const withMember = (change: object): string => changed({ members: [first, { ...second, ...change }] });
  return {
    about: 'A genesis entry is canonical JSON; the cluster id is BLAKE3 of the text in base32.',
    accepted: [small, pair, roles, slotted].map((genesis) => {
      const text = encodeGenesis(genesis);
      return { text, id: accepted(decodeGenesis(text)).id, genesis };
    }),
    refused: [
      { why: 'not canonical', text: JSON.stringify(pair, null, 2) },
      { why: 'two newlines', text: `${encodeGenesis(pair)}\n\n` },
      { why: 'unknown version', text: changed({ v: 2 }) },
      { why: 'unknown field', text: changed({ extra: 1 }) },
      { why: 'no members', text: changed({ members: [] }) },
      { why: 'members no list', text: changed({ members: {} }) },
      { why: 'no slots', text: changed({ slots: 0 }) },
      { why: 'slots no power of two', text: changed({ slots: 24 }) },
      { why: 'too many slots', text: changed({ slots: 8_192 }) },
      { why: 'slots no number', text: changed({ slots: '16' }) },
      { why: 'cluster name', text: changed({ cluster: 'Swarm!' }) },
      { why: 'short seed', text: changed({ seed: toBase32(new Uint8Array(15)) }) },
      { why: 'long seed', text: changed({ seed: toBase32(new Uint8Array(65)) }) },
      { why: 'seed not base32', text: changed({ seed: seed.toUpperCase() }) },
      { why: 'the same name twice', text: withMember({ name: first.name }) },
      { why: 'the same node id twice', text: withMember({ nodeId: first.nodeId }) },
      { why: 'the same peer id twice', text: withMember({ peerId: first.peerId }) },
      {
        why: 'peer id of no ed25519 key',
        text: withMember({ peerId: 'QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N' }),
      },
      { why: 'node id', text: withMember({ nodeId: 'n2' }) },
      { why: 'member name', text: withMember({ name: 'a b' }) },
      { why: 'unknown field of a member', text: withMember({ role: 'storage' }) },
      { why: 'unknown role', text: withMember({ roles: ['king'] }) },
      { why: 'no roles', text: withMember({ roles: [] }) },
      { why: 'labels no object', text: withMember({ labels: ['dc'] }) },
      { why: 'address', text: withMember({ addresses: ['127.0.0.1:4001'] }) },
      { why: 'address with a space', text: withMember({ addresses: ['/ip4/127.0.0.1 /tcp/1'] }) },
      {
        why: 'too many addresses',
        text: withMember({ addresses: Array.from({ length: 17 }, (_, at) => `/ip4/10.0.0.${at}`) }),
      },
    ],
  };
}
