import { signStatement } from '../../../crdt/certificate.ts';
import { blake3, toBase32 } from '../../../crdt/digest.ts';
import {
  decodeQuorumRequest,
  decodeQuorumResponse,
  encodeQuorumMessage,
  type QuorumRequest,
  type QuorumResponse,
} from '../../../protocols/quorum/messages.ts';
import { encodeCbor } from '../../../protocols/wire/cbor.ts';
import { actorOf, testCluster, testNode } from '../versions.ts';
import { certificateVectors } from './certificate.ts';
import { messageVectors, refusedVectors, type Samples } from './messages.ts';

export function quorumMessageVectors() {
  const node = testNode('north');
  const proposer = actorOf(node);
  const [register, head] = ['an object', 'first'].map((text) => toBase32(blake3(Buffer.from(text)))) as [
    string,
    string,
  ];
  const ballot = { counter: 2, proposer };
  const value = { position: 1, head, previous: null };
  const { text: certificate = '' } = certificateVectors().accepted[0] ?? {};
  const statement = { v: 1, register, epoch: 1, ...value, ballot } as const;
  const signature = signStatement(statement, node.signer, testCluster);
  const enclosed = [Buffer.from('a record'), Buffer.from('a content')];
  const requests: Samples<QuorumRequest> = {
    votes: [
      {
        t: 'votes',
        epoch: 1,
        seen: 0,
        own: 7,
        items: [
          { t: 'prepare', register, ballot },
          { t: 'accept', register, ballot: { counter: 0, proposer }, value, next: null },
          { t: 'accept', register: 'control-log', ballot, value, next: { counter: 3, proposer }, enclosed },
        ],
      },
      {
        t: 'votes',
        epoch: 1,
        seen: 0,
        own: 8,
        voted: signature,
        items: [{ t: 'accept', register, ballot: { counter: 0, proposer }, value, next: null }],
      },
    ],
    list: [
      { t: 'list', epoch: 2, seen: 9, after: null, limit: 1_024 },
      { t: 'list', epoch: 2, seen: 9, after: register, limit: 1 },
    ],
    heard: [{ t: 'heard' }],
    confirm: [
      {
        t: 'confirm',
        items: [
          { register, head },
          { register, head, enclosed },
        ],
      },
    ],
  };
  const responses: Samples<QuorumResponse> = {
    votes: [
      {
        t: 'votes',
        sequence: 10,
        answers: [
          { t: 'promised', accepted: null },
          { t: 'promised', accepted: { ballot, value, epoch: 1 } },
          { t: 'accepted', signature },
          { t: 'accepted', signature: null },
          { t: 'outbid', promised: ballot },
          { t: 'stale_epoch', epoch: 2 },
          { t: 'behind', epoch: 1 },
          { t: 'missing' },
        ],
        batch: null,
      },
      { t: 'votes', sequence: 11, answers: [{ t: 'accepted', signature: null }], batch: signature },
    ],
    heard: [{ t: 'heard', sequence: 0 }],
    list: [{ t: 'list', sequence: 10, registers: [[register, true]], through: null }],
    confirm: [
      {
        t: 'confirm',
        outcomes: [
          { t: 'confirmed', certificate },
          { t: 'refused', refusal: { code: 'conflict', message: 'another head is confirmed' }, certificate },
          { t: 'unavailable', reason: 'no_quorum' },
        ],
      },
    ],
    declined: [{ t: 'declined', code: 'stale_epoch', epoch: 2 }],
  };
  const votes = (item: object): Uint8Array => encodeCbor({ t: 'votes', epoch: 1, seen: 0, own: 0, items: [item] });
  return {
    about:
      'Messages of /anabranch/quorum/1.0.0 are CBOR, in hex; a byte string of one is {"hex": …} in `message`. Certificates are as in certificate.json.',
    requests: messageVectors(requests, encodeQuorumMessage),
    responses: messageVectors(responses, encodeQuorumMessage),
    refusedRequests: refusedVectors(
      {
        'a first round that is prepared': votes({ t: 'prepare', register, ballot: { counter: 0, proposer } }),
        'a first round for next': votes({ t: 'accept', register, ballot, value, next: { counter: 0, proposer } }),
        'a link at position 1': votes({
          t: 'accept',
          register,
          ballot,
          value: { ...value, previous: head },
          next: null,
        }),
        'nothing enclosed': votes({ t: 'accept', register, ballot, value, next: null, enclosed: [] }),
        'more than 4 KiB enclosed': votes({
          t: 'accept',
          register,
          ballot,
          value,
          next: null,
          enclosed: [new Uint8Array(4_097)],
        }),
        'no proposer': votes({ t: 'prepare', register, ballot: { counter: 1, proposer: node.nodeId } }),
        'no register': votes({ t: 'prepare', register: 'control', ballot }),
        'epoch 0': encodeCbor({ t: 'list', epoch: 0, seen: 0, after: null, limit: 1 }),
        'a vote that is no signature': encodeCbor({
          t: 'votes',
          epoch: 1,
          seen: 0,
          own: 0,
          voted: new Uint8Array(63),
          items: [{ t: 'accept', register, ballot, value, next: null }],
        }),
        'no items': encodeCbor({ t: 'votes', epoch: 1, seen: 0, own: 0, items: [] }),
      },
      decodeQuorumRequest,
    ),
    refusedResponses: refusedVectors(
      {
        'half a signature': encodeCbor({
          t: 'votes',
          sequence: 1,
          answers: [{ t: 'accepted', signature: signature.subarray(32) }],
          batch: null,
        }),
        'sequence 0': encodeCbor({ t: 'votes', sequence: 0, answers: [], batch: null }),
        'an unknown reason to decline': encodeCbor({ t: 'declined', code: 'busy', epoch: 1 }),
      },
      decodeQuorumResponse,
    ),
  };
}
