import fc from 'fast-check';
import { expect, test } from 'vitest';
import { decodeCertificate, encodeCertificate, verifyCertificate } from '../../../crdt/certificate.ts';
import { blake3, fromHex, toBase32 } from '../../../crdt/digest.ts';
import {
  confirmsMax,
  decodeQuorumRequest,
  decodeQuorumResponse,
  enclosedBytesMax,
  enclosedBytesOfVotesMax,
  encodeQuorumMessage,
  listedMax,
  type QuorumRequest,
  type QuorumResponse,
  votesMax,
} from '../../../protocols/quorum/messages.ts';
import { messageBytesMax } from '../../../protocols/wire/frames.ts';
import { runs } from '../../support/property-runs.ts';
import { certificateVectors } from '../../support/vectors/certificate.ts';
import { actorOf, testNode } from '../../support/versions.ts';

const hash = toBase32(blake3(Buffer.from('any')));
const ballot = { counter: Number.MAX_SAFE_INTEGER, proposer: actorOf(testNode('north')) };
const value = { position: Number.MAX_SAFE_INTEGER, head: hash, previous: hash };
const epoch = Number.MAX_SAFE_INTEGER;
const repeat = <T>(count: number, item: T): T[] => Array.from({ length: count }, () => item);
const vectors = certificateVectors();
const certificate = vectors.accepted[0]?.text as string;
const ofBatches = vectors.accepted.map(({ text }) => text).filter((text) => text.startsWith('{"batch"'));
const cluster = vectors.cluster;
const coordinators = vectors.coordinators.map(({ nodeId, publicKey }) => ({
  nodeId,
  publicKey: fromHex(publicKey) as Uint8Array,
}));

const enclosed = [new Uint8Array(1_024), new Uint8Array(enclosedBytesMax - 1_024)];

/** The largest messages there can be. */
const requests: readonly QuorumRequest[] = [
  {
    t: 'votes',
    epoch,
    seen: epoch,
    own: epoch,
    items: repeat(votesMax, { t: 'accept', register: hash, ballot, value, next: ballot }),
  },
  {
    t: 'votes',
    epoch,
    seen: epoch,
    own: epoch,
    items: repeat(votesMax, { t: 'accept', register: hash, ballot, value, next: ballot }).map((item, at) =>
      at < enclosedBytesOfVotesMax / enclosedBytesMax ? { ...item, enclosed } : item,
    ) as Extract<QuorumRequest, { t: 'votes' }>['items'],
  },
  { t: 'votes', epoch, seen: 0, own: 0, items: [{ t: 'prepare', register: 'control-log', ballot }] },
  { t: 'list', epoch, seen: epoch, after: hash, limit: listedMax },
  { t: 'heard' },
  { t: 'confirm', items: repeat(confirmsMax, { register: hash, head: hash }) },
  { t: 'confirm', items: repeat(confirmsMax, { register: hash, head: hash, enclosed }) },
];
const responses: readonly QuorumResponse[] = [
  {
    t: 'votes',
    sequence: epoch,
    answers: repeat(votesMax, { t: 'promised', accepted: { ballot, value, epoch } }),
    batch: null,
  },
  {
    t: 'votes',
    sequence: 1,
    answers: [{ t: 'accepted', signature: new Uint8Array(64) }, { t: 'missing' }],
    batch: null,
  },
  { t: 'votes', sequence: 1, answers: repeat(votesMax, { t: 'accepted', signature: null }), batch: new Uint8Array(64) },
  { t: 'list', sequence: epoch, registers: repeat(listedMax, [hash, true] as [string, boolean]), through: hash },
  { t: 'heard', sequence: 0 },
  {
    t: 'confirm',
    outcomes: repeat(confirmsMax, {
      t: 'refused',
      refusal: { code: 'not_a_descendant', message: 'é'.repeat(1_024) },
      certificate: certificate.padEnd(4_096),
    }),
  },
  { t: 'declined', code: 'coordinator_restored', epoch },
];

test('the largest messages there can be fit a frame and are read as they were written', () => {
  for (const request of requests) {
    const bytes = encodeQuorumMessage(request);
    expect(bytes.length).toBeLessThanOrEqual(messageBytesMax);
    expect(decodeQuorumRequest(bytes)).toEqual({ ok: true, value: request });
  }
  for (const response of responses) {
    const bytes = encodeQuorumMessage(response);
    expect(bytes.length).toBeLessThanOrEqual(messageBytesMax);
    expect(decodeQuorumResponse(bytes)).toEqual({ ok: true, value: response });
  }
});

test('a message of one too many, or of no shape, is refused', () => {
  const [first] = requests as [Extract<QuorumRequest, { t: 'votes' }>];
  const many = { ...first, items: repeat(votesMax + 1, first.items[0] as (typeof first.items)[number]) };
  expect(decodeQuorumRequest(encodeQuorumMessage(many)).ok).toBe(false);
  const linkless = { t: 'accept', register: hash, ballot, value: { ...value, previous: null }, next: null } as const;
  expect(decodeQuorumRequest(encodeQuorumMessage({ ...first, items: [linkless] })).ok).toBe(false);
  expect(decodeQuorumRequest(encodeQuorumMessage({ t: 'heard', more: 1 } as never)).ok).toBe(false);
});

test('no bytes make a decoder throw', () => {
  const sound = [...requests, ...responses].map(encodeQuorumMessage);
  const mutant = fc
    .tuple(fc.constantFrom(...sound), fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 }))
    .map(([bytes, changes]) => {
      const changed = Uint8Array.from(bytes);
      for (const [at, byte] of changes) changed[at % changed.length] = byte;
      return changed;
    });
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 256 }), mutant), (bytes) => {
      decodeQuorumRequest(bytes);
      decodeQuorumResponse(bytes);
    }),
    runs(3),
  );
});

test('no change of one byte leaves a certificate under a batch that holds', () => {
  expect(ofBatches.length).toBeGreaterThan(1);
  fc.assert(
    fc.property(fc.constantFrom(...ofBatches), fc.nat(), fc.integer({ min: 1, max: 255 }), (text, place, mask) => {
      const bytes = Buffer.from(text);
      const at = place % bytes.length;
      bytes[at] = (bytes[at] ?? 0) ^ mask;
      const decoded = decodeCertificate(bytes.toString('latin1'));
      expect(decoded.ok && verifyCertificate(decoded.value, { cluster, coordinators }), `byte ${at}`).toBe(false);
    }),
    runs(10),
  );
});

test('what a certificate is read as is written as the same text', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(certificate, ...ofBatches),
      fc.nat(),
      fc.string({ maxLength: 3 }),
      (whole, place, text) => {
        const at = place % whole.length;
        const changed = whole.slice(0, at) + text + whole.slice(at + 1);
        const decoded = decodeCertificate(changed);
        expect(!decoded.ok || encodeCertificate(decoded.value) === changed).toBe(true);
      },
    ),
    runs(5),
  );
});
