import { toHex } from '../../../crdt/digest.ts';
import {
  certificateHint,
  decodeGossip,
  encodeGossip,
  gossipTopic,
  hintOf,
} from '../../../protocols/gossip/messages.ts';
import { encodeCbor } from '../../../protocols/wire/cbor.ts';
import { testCluster, testNode, write } from '../versions.ts';
import { certificateVectors } from './certificate.ts';
import { refusedVectors } from './messages.ts';

export function gossipVectors() {
  const version = write(testNode('north'), []);
  const doc = 'a'.repeat(52) as never;
  const { text } = certificateVectors().accepted[0] as { readonly text: string };
  const record = Buffer.from(version.text);
  const hint = hintOf(doc, [version.id], [record]);
  const messages = {
    'a hint of one head': [hintOf(doc, [version.id], [])],
    'a hint of more heads than are named': [hintOf(doc, Array(17).fill(version.id), [])],
    'a record with its content': [hintOf(doc, [version.id], [record], [Buffer.from('north')])],
    'two records with their contents': [
      hintOf(doc, [version.id], [record], [Buffer.from('north')]),
      hintOf('q'.repeat(52) as never, [version.id], [record], [new Uint8Array(4_096)]),
    ],
    'a certificate': [certificateHint(doc, version.id, text)],
    'two hints': [hint, certificateHint(doc, version.id, text)],
  };
  return {
    about:
      'Gossip. `topics`: where what is told. `messages`: hints of documents as CBOR, in hex. The document id is 32 bytes of zero.',
    topics: {
      slot5: gossipTopic(testCluster, 5),
      confirmed: gossipTopic(testCluster, 'confirmed'),
    },
    record: version.text,
    version: version.id,
    certificate: text,
    messages: Object.entries(messages).map(([name, hints]) => ({ name, bytes: toHex(encodeGossip(hints)) })),
    refused: refusedVectors(
      {
        'another version': encodeCbor({ v: 2, hints: [hint] }),
        'no hints': encodeCbor({ v: 1, hints: [] }),
        'more than 16 heads': encodeCbor({ v: 1, hints: [{ ...hint, heads: Array(17).fill(new Uint8Array(32)) }] }),
        'three certificates': encodeCbor({ v: 1, hints: [{ ...hint, certificates: [text, text, text] }] }),
        'a field too many': encodeCbor({ v: 1, hints: [hint], from: 'north' }),
      },
      decodeGossip,
    ),
  };
}
