import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeCanonical, encodeCanonical } from '../../crdt/canonical-json.ts';
import { decodeContext } from '../../crdt/causality.ts';
import { decodeCertificate } from '../../crdt/certificate.ts';
import { defaultChunking } from '../../crdt/chunking.ts';
import { verifyConfirmation } from '../../crdt/confirmation-verify.ts';
import { decodeCheckpointLine, decodeLogLine } from '../../crdt/control/checkpoint.ts';
import { decodeEntry } from '../../crdt/control/entry.ts';
import { blobHashOf, fromBase32, fromHex } from '../../crdt/digest.ts';
import { fingerprintBytes } from '../../crdt/fingerprint-tree.ts';
import { decodeGenesis, encodeGenesis } from '../../crdt/genesis.ts';
import type { Result } from '../../crdt/ids.ts';
import { buildManifest, decodeManifest } from '../../crdt/manifest.ts';
import { decodeDescriptor } from '../../crdt/membership-descriptor.ts';
import { packStamps, unpackStamps, withDescriptors } from '../../crdt/membership-set.ts';
import { checkKey, checkNamespace } from '../../crdt/object-name.ts';
import { fromBase64Url, peerIdOf, publicKeyOf } from '../../crdt/signature.ts';
import { decodeVersion } from '../../crdt/version.ts';
import { decodeWant, encodeWant } from '../../protocols/blobs/messages.ts';
import { decodeControlRequest, decodeControlResponse, encodeControlMessage } from '../../protocols/control/messages.ts';
import { certificateHint, decodeGossip, encodeGossip, hintOf } from '../../protocols/gossip/messages.ts';
import { decodeHeartbeat, encodeHeartbeat } from '../../protocols/membership/heartbeat.ts';
import {
  decodeDescriptorGossip,
  decodeMembershipRequest,
  decodeMembershipResponse,
  encodeDescriptorGossip,
  encodeMembershipMessage,
} from '../../protocols/membership/messages.ts';
import {
  decodeMetadataRequest,
  decodeMetadataResponse,
  encodeMetadataMessage,
} from '../../protocols/metadata/messages.ts';
import { decodeQuorumRequest, decodeQuorumResponse, encodeQuorumMessage } from '../../protocols/quorum/messages.ts';
import {
  decodeReplicaRequest,
  decodeReplicaResponse,
  encodeReplicaMessage,
} from '../../protocols/replicas/messages.ts';
import { unpackCopy, unpackPlace, unpackPreview, unpackPull } from '../../protocols/replicas/views.ts';
import { decodeSyncRequest, decodeSyncResponse, encodeSyncMessage } from '../../protocols/sync/messages.ts';
import { decodeCbor, encodeCbor } from '../../protocols/wire/cbor.ts';
import { creditFrame, dataFrame, endFrame, FrameDecoder, helloFrame } from '../../protocols/wire/frames.ts';
import { unpackAnswer, unpackChanges, unpackItems, unpackRange } from '../../protocols/wire/item-sets.ts';
import { YamuxHeaderWatch } from '../../src/adapters/libp2p/bounded-yamux.ts';
import { decodePercent } from '../../src/http/percent.ts';
import { matchesNone, rangeApplies } from '../../src/http/preconditions.ts';
import { parseRange } from '../../src/http/range.ts';
import { parsePlanCursor, parsePreviewCursor, planCursor, previewCursor } from '../../src/node/replication-cursors.ts';
import { MeshError } from '../../src/ports/mesh-error.ts';
import { descriptorOf } from '../support/descriptors.ts';
import { runs } from '../support/property-runs.ts';
import { actorOf, testCluster, testNode, write } from '../support/versions.ts';
import certificateVectors from '../vectors/certificate.json' with { type: 'json' };
import confirmationVectors from '../vectors/confirmation.json' with { type: 'json' };
import controlLogVectors from '../vectors/control-log.json' with { type: 'json' };

/** A decoder that sees bytes from a peer or a client, and some sound input that mutants are made from. */
interface Edge {
  readonly decode: (bytes: Uint8Array) => unknown;
  readonly sound: readonly Uint8Array[];
}

const utf8 =
  (decode: (text: string) => unknown): Edge['decode'] =>
  (bytes) =>
    decode(Buffer.from(bytes).toString('utf8'));
const text = (...texts: readonly string[]): Uint8Array[] => texts.map((each) => Buffer.from(each));

const root = write(testNode('north'), []);
const child = write(testNode('south'), [root]);
const hash = blobHashOf(Buffer.from('any'));
const raw = fromBase32(hash) as Uint8Array;
const doc = hash as unknown as Parameters<typeof hintOf>[0];
/** Bytes of a range's summary on the wire: a count and a fingerprint. */
const summaryBytes = 4 + fingerprintBytes;
const manifest = buildManifest([{ hash, size: 3 }], defaultChunking).blobs.map(({ bytes }) => bytes);

const north = testNode('north');
const ballot = { counter: 1, proposer: actorOf(north) };
const value = { position: 1, head: hash, previous: null };
const genesis = {
  v: 1 as const,
  cluster: 'test',
  seed: 'a'.repeat(26),
  members: [{ name: 'north', nodeId: north.nodeId, peerId: peerIdOf(north.signer.publicKey), addresses: [] }],
};

const descriptor = descriptorOf(north);
const stamps = packStamps(withDescriptors(new Map(), [descriptor, descriptorOf(testNode('south'))]));
const beat = { descriptor: 1, sequence: 2, capacityBytes: 9, freeBytes: 3, load: 0, members: new Uint8Array(16) };

const { genesisText, controlLogLines } = confirmationVectors;
/** Between the parts of what proves a confirmation; no part has it. */
const separator = '\u0000';
const yamuxFrameBytesMax = 1_000;

const edges: Readonly<Record<string, Edge>> = {
  'version record': { decode: decodeVersion, sound: text(root.text, child.text) },
  'version record as text': { decode: utf8(decodeVersion), sound: text(child.text) },
  manifest: { decode: decodeManifest, sound: manifest },
  'genesis entry': { decode: utf8(decodeGenesis), sound: text(encodeGenesis(genesis)) },
  'canonical JSON': { decode: utf8((input) => decodeCanonical(input, 65_536)), sound: text('{"a":[1,"x",null]}') },
  context: { decode: utf8(jsonOr(decodeContext)), sound: text(JSON.stringify(child.record.context)) },
  'sync request': {
    decode: decodeAndUnpackRequest,
    sound: [
      encodeSyncMessage({ t: 'fetch', versions: [raw] }),
      encodeSyncMessage({ t: 'feed', feed: 'a', after: 1, slots: Uint8Array.of(1, 128) }),
      encodeSyncMessage({ t: 'offer', docs: [{ doc: raw, heads: [raw], confirmed: { position: 3, head: raw } }] }),
      encodeSyncMessage({
        t: 'records',
        wants: [{ doc: raw, have: [raw, raw], confirmed: { position: 3, head: raw } }],
        along: 9,
      }),
      encodeSyncMessage({ t: 'ranges', ranges: [[3, Uint8Array.of(1, 15), new Uint8Array(summaryBytes)]] }),
    ],
  },
  'sync response': {
    decode: decodeAndUnpackResponse,
    sound: [
      encodeSyncMessage({ t: 'records', texts: text(root.text), contents: [raw] }),
      encodeSyncMessage({ t: 'ranges', answers: [0, 1, { items: Buffer.concat([raw, raw]) }] }),
      encodeSyncMessage({ t: 'ranges', answers: [{ split: new Uint8Array(16 * summaryBytes) }] }),
      encodeSyncMessage({ t: 'feed', feed: 'a', last: 2, through: 1, entries: Buffer.concat([raw, raw]), time: 3 }),
      encodeSyncMessage({ t: 'certificates', texts: ['{}'] }),
      encodeSyncMessage({ t: 'done', more: true, partial: [0, 3] }),
      encodeSyncMessage({ t: 'offered', lacks: [1] }),
    ],
  },
  'metadata request': {
    decode: decodeMetadataRequest,
    sound: [
      encodeMetadataMessage({
        t: 'objects',
        slots: Uint8Array.of(3, 0),
        ns: 'test',
        prefix: 'a',
        delimiter: '/',
        after: null,
        limit: 9,
      }),
      encodeMetadataMessage({ t: 'conflicts', slots: Uint8Array.of(3, 0), ns: null, after: 'test/a', limit: 9 }),
    ],
  },
  'metadata response': {
    decode: decodeMetadataResponse,
    sound: [
      encodeMetadataMessage({
        t: 'objects',
        objects: [{ key: 'a', version: root.id, heads: 1, size: null, state: 'provisional', time: 5 }],
        prefixes: ['b/'],
        next: 'b/',
      }),
      encodeMetadataMessage({
        t: 'conflicts',
        conflicts: [{ ns: 'test', key: 'a', heads: [root.id, child.id], preferred: root.id }],
        next: null,
      }),
      encodeMetadataMessage({ t: 'elsewhere' }),
    ],
  },
  'control request': {
    decode: decodeControlRequest,
    sound: [
      encodeControlMessage({ t: 'entries', after: 3 }),
      encodeControlMessage({ t: 'candidate', hash }),
      encodeControlMessage({ t: 'tip', tip: { seq: 2, hash } }),
      encodeControlMessage({ t: 'carry' }),
    ],
  },
  'control response': {
    decode: decodeControlResponse,
    sound: [
      encodeControlMessage({ t: 'entries', tip: { seq: 2, hash }, lines: ['{}', '[]'] }),
      encodeControlMessage({ t: 'candidate', text: null }),
      encodeControlMessage({ t: 'tip', tip: { seq: 2, hash } }),
      encodeControlMessage({ t: 'carry', carry: { epoch: 2, carried: 3, done: 4, total: 9, complete: false } }),
      encodeControlMessage({ t: 'carry', carry: null }),
    ],
  },
  descriptor: { decode: utf8(decodeDescriptorAlike), sound: text(descriptor.text) },
  'membership stamps': { decode: unpackStamps, sound: [stamps, new Uint8Array(0)] },
  'membership request': {
    decode: decodeMembershipRequest,
    sound: [
      encodeMembershipMessage({ t: 'compare', digest: new Uint8Array(16) }),
      encodeMembershipMessage({ t: 'fetch', nodes: [north.nodeId] }),
    ],
  },
  'membership response': {
    decode: decodeMembershipResponse,
    sound: [
      encodeMembershipMessage({ t: 'same' }),
      encodeMembershipMessage({ t: 'stamps', stamps }),
      encodeMembershipMessage({ t: 'descriptors', texts: [descriptor.text] }),
    ],
  },
  'descriptor gossip': { decode: decodeDescriptorGossip, sound: [encodeDescriptorGossip([descriptor])] },
  heartbeat: {
    decode: decodeHeartbeatAlike,
    sound: [encodeHeartbeat({ ...beat, nodeId: north.nodeId, status: 'ready' }, north.signer, testCluster)],
  },
  'gossip message': {
    decode: decodeGossip,
    sound: [
      encodeGossip([hintOf(doc, [root.id], text(root.text), [raw])]),
      encodeGossip([certificateHint(doc, root.id, '{}')]),
    ],
  },
  'quorum request': {
    decode: decodeQuorumRequest,
    sound: [
      encodeQuorumMessage({
        t: 'votes',
        epoch: 1,
        seen: 0,
        own: 0,
        voted: new Uint8Array(64),
        items: [
          { t: 'prepare', register: hash, ballot },
          { t: 'accept', register: 'control-log', ballot, value, next: null },
        ],
      }),
      encodeQuorumMessage({ t: 'list', epoch: 2, seen: 9, after: hash, limit: 10 }),
      encodeQuorumMessage({ t: 'heard' }),
      encodeQuorumMessage({ t: 'confirm', items: [{ register: hash, head: hash }] }),
    ],
  },
  'quorum response': {
    decode: decodeQuorumResponse,
    sound: [
      encodeQuorumMessage({
        t: 'votes',
        sequence: 3,
        answers: [
          { t: 'promised', accepted: { ballot, value, epoch: 1 } },
          { t: 'accepted', signature: new Uint8Array(64) },
          { t: 'outbid', promised: ballot },
          { t: 'missing' },
        ],
        batch: new Uint8Array(64),
      }),
      encodeQuorumMessage({ t: 'list', sequence: 3, registers: [[hash, true]], through: null }),
      encodeQuorumMessage({ t: 'confirm', outcomes: [{ t: 'unavailable', reason: 'deadline' }] }),
      encodeQuorumMessage({ t: 'declined', code: 'behind', epoch: 1 }),
    ],
  },
  certificate: {
    decode: utf8(decodeCertificate),
    sound: text(...certificateVectors.accepted.map((each) => each.text)),
  },
  'proof of a confirmation': {
    decode: utf8((input) => {
      const [genesis = '', certificate = '', ...lines] = input.split(separator);
      return verifyConfirmation({ genesisText: genesis, certificate, controlLogLines: lines });
    }),
    sound: text(
      ...confirmationVectors.accepted.map(({ lines, certificate }) =>
        [genesisText, certificate, ...controlLogLines.slice(0, lines)].join(separator),
      ),
    ),
  },
  'control-log line': { decode: utf8(decodeLogLine), sound: text(...controlLogVectors.lines.slice(1, -1)) },
  'control-log entry': {
    decode: utf8(decodeEntry),
    sound: text(
      ...controlLogVectors.lines.slice(1, -1).map((line) => String(JSON.parse(line).entry)),
      ...controlLogVectors.later.map((each) => each.text),
    ),
  },
  'control-log checkpoint': {
    decode: utf8(decodeCheckpointLine),
    sound: text(...controlLogVectors.lines.slice(-1)),
  },
  'replica request': {
    decode: decodeAndUnpackReplicaRequest,
    sound: [
      encodeReplicaMessage({ t: 'feed', feed: 'a', after: 1 }),
      encodeReplicaMessage({ t: 'ranges', ranges: [[0, Uint8Array.of(1, 15), new Uint8Array(summaryBytes)]] }),
      encodeReplicaMessage({ t: 'prove', nonce: raw, items: [{ manifest: raw, points: [0, 9] }] }),
      encodeReplicaMessage({ t: 'prove', nonce: raw, lease: 9, items: [{ manifest: raw }] }),
      encodeReplicaMessage({
        t: 'order',
        items: [{ ns: 'docs', key: 'a', version: raw, manifest: raw, holders: [north.nodeId] }],
      }),
      encodeReplicaMessage({ t: 'check', items: [{ manifest: raw, node: north.nodeId, points: [0] }] }),
      encodeReplicaMessage({ t: 'status' }),
      encodeReplicaMessage({
        t: 'plan',
        after: { waiting: true, proved: 1, size: 2, manifest: raw, to: north.nodeId, version: raw },
      }),
      encodeReplicaMessage({ t: 'audit', wait: 1 }),
      encodeReplicaMessage({ t: 'copies', manifests: [raw] }),
      encodeReplicaMessage({ t: 'drain', node: north.nodeId }),
      encodeReplicaMessage({
        t: 'preview',
        change: { kind: 'join', node: north.nodeId, labels: { dc: 'a' }, capacity: 20 },
        after: { doc: raw, version: raw },
        moves: 1,
      }),
    ],
  },
  'replica response': {
    decode: decodeAndUnpackReplicaResponse,
    sound: [
      encodeReplicaMessage({ t: 'feed', feed: 'a', last: 2, through: 1, entries: Buffer.concat([raw, raw]) }),
      encodeReplicaMessage({ t: 'ranges', answers: [0, 1, { items: Buffer.concat([raw, raw]) }] }),
      encodeReplicaMessage({ t: 'ranges', answers: [{ split: new Uint8Array(16 * summaryBytes) }] }),
      encodeReplicaMessage({ t: 'proofs', answers: [raw, 0, 1] }),
      encodeReplicaMessage({ t: 'checked', results: ['proved', 'wrong'] }),
      encodeReplicaMessage({ t: 'status', intents: 1, late: 0, auditor: null }),
      encodeReplicaMessage({
        t: 'plan',
        page: {
          pulls: [
            {
              ...{ ns: 'docs', key: 'a', version: raw, manifest: raw, size: 1, to: north.nodeId },
              ...{ from: [north.nodeId], proved: 1, waiting: true, waits: [[north.nodeId, 9]] },
            },
          ],
          more: true,
        },
      }),
      encodeReplicaMessage({ t: 'audit', state: 'done' }),
      encodeReplicaMessage({ t: 'copies', copies: [[[north.nodeId, 1, 0, 'own']]] }),
      encodeReplicaMessage({
        t: 'drain',
        progress: { contents: 2, remaining: 1, bytes: 9, unreadable: 0, current: true },
      }),
      encodeReplicaMessage({
        t: 'preview',
        page: {
          moves: [
            {
              ...{ ns: 'docs', key: 'a', version: raw, size: 1, from: [north.nodeId], to: [] },
              lacks: [{ kind: 'replicas', wanted: 3, placed: 2 }],
            },
          ],
          totals: { subjects: 9, moved: 1, copies: 1, bytes: 3, degraded: 1 },
          nodes: [[north.nodeId, 1, 3, 0, 0]],
          next: { doc: raw, version: raw },
        },
      }),
    ],
  },
  want: { decode: decodeWant, sound: [encodeWant([hash, hash])] },
  CBOR: { decode: decodeCbor, sound: [encodeCbor({ a: [1, 'x', null, raw] })] },
  frames: { decode: decodeFrames, sound: [Buffer.concat([helloFrame(), dataFrame(raw), creditFrame(9), endFrame()])] },
  'yamux header': {
    decode: watchYamux,
    sound: [Buffer.concat([yamuxFrame(0, 5), yamuxFrame(1, 262_144), yamuxFrame(0, yamuxFrameBytesMax)])],
  },
  'peer id': { decode: utf8(publicKeyOf), sound: text(peerIdOf(north.signer.publicKey)) },
  base32: { decode: utf8(fromBase32), sound: text(hash) },
  hex: { decode: utf8(fromHex), sound: text('00ff') },
  base64url: { decode: utf8(fromBase64Url), sound: text('AAAA') },
  'namespace and key': {
    decode: utf8((input) => [checkNamespace(input), checkKey(input)]),
    sound: text('docs', 'a/b'),
  },
  'percent-encoded path': { decode: utf8(decodePercent), sound: text('a%2Fb%C3%A4') },
  'cursor in a plan of repairs': {
    decode: utf8(writtenAlike(parsePlanCursor, planCursor)),
    sound: text(
      `due.1.2.${hash}.${north.nodeId}.${hash}`,
      `waiting.0.9007199254740991.${hash}.${north.nodeId}.${hash}`,
    ),
  },
  'cursor in a preview': {
    decode: utf8(writtenAlike(parsePreviewCursor, previewCursor)),
    sound: text(`${hash}.${hash}`),
  },
  'Range header': { decode: utf8((input) => parseRange(input, 1_000)), sound: text('bytes=0-9', 'bytes=-5') },
  'entity tags': {
    decode: utf8((input) => [matchesNone(input, hash), rangeApplies(input, hash)]),
    sound: text(`"${hash}"`, `W/"${hash}", *`),
  },
};

/** What is packed inside a message that was accepted must come apart without a fault, too. */
function decodeAndUnpackRequest(bytes: Uint8Array): unknown {
  const decoded = decodeSyncRequest(bytes);
  if (decoded.ok && decoded.value.t === 'ranges') decoded.value.ranges.map(unpackRange);
  return decoded;
}

function decodeAndUnpackResponse(bytes: Uint8Array): unknown {
  const decoded = decodeSyncResponse(bytes);
  if (!decoded.ok) return decoded;
  if (decoded.value.t === 'ranges') decoded.value.answers.map(unpackAnswer);
  if (decoded.value.t === 'feed' && decoded.value.entries !== null) unpackItems(decoded.value.entries);
  return decoded;
}

function decodeAndUnpackReplicaRequest(bytes: Uint8Array): unknown {
  const decoded = decodeReplicaRequest(bytes);
  if (!decoded.ok) return decoded;
  if (decoded.value.t === 'ranges') decoded.value.ranges.map(unpackRange);
  if (decoded.value.t === 'plan' && decoded.value.after !== null) unpackPlace(decoded.value.after);
  return decoded;
}

function decodeAndUnpackReplicaResponse(bytes: Uint8Array): unknown {
  const decoded = decodeReplicaResponse(bytes);
  if (!decoded.ok) return decoded;
  if (decoded.value.t === 'ranges') decoded.value.answers.map(unpackAnswer);
  if (decoded.value.t === 'feed' && decoded.value.entries !== null) unpackChanges(decoded.value.entries);
  if (decoded.value.t === 'plan') decoded.value.page?.pulls.map(unpackPull);
  if (decoded.value.t === 'copies') decoded.value.copies?.flat().map(unpackCopy);
  if (decoded.value.t === 'preview' && decoded.value.page !== null) unpackPreview(decoded.value.page);
  return decoded;
}

/** What is signed is stored and passed on as it came, so two texts must never say the same. */
function decodeDescriptorAlike(input: string): unknown {
  const decoded = decodeDescriptor(input);
  if (decoded.ok) expect(encodeCanonical(decoded.value.descriptor)).toBe(input);
  return decoded;
}

function decodeHeartbeatAlike(bytes: Uint8Array): unknown {
  const decoded = decodeHeartbeat(bytes);
  if (!decoded.ok) return decoded;
  const { heartbeat, signed, signature } = decoded.value;
  expect(Buffer.from(encodeCbor(heartbeat))).toEqual(Buffer.from(signed));
  expect(Buffer.from(encodeCbor({ v: 1, beat: signed, sig: signature }))).toEqual(Buffer.from(bytes));
  return decoded;
}

function yamuxFrame(type: number, length: number): Uint8Array {
  const header = new Uint8Array(12 + (type === 0 ? length : 0));
  header[1] = type;
  new DataView(header.buffer).setUint32(8, length);
  return header;
}

/** However the bytes are cut, the same frames are refused. */
function watchYamux(bytes: Uint8Array): unknown {
  const ok = new YamuxHeaderWatch(yamuxFrameBytesMax).admits(bytes);
  const watch = new YamuxHeaderWatch(yamuxFrameBytesMax);
  expect(bytes.every((_byte, at) => watch.admits(bytes.subarray(at, at + 1)))).toBe(ok);
  return { ok };
}

function jsonOr(decode: (value: unknown) => Result<unknown, unknown>): (input: string) => unknown {
  return (input) => {
    try {
      return decode(JSON.parse(input));
    } catch (error) {
      if (error instanceof SyntaxError) return undefined;
      throw error;
    }
  };
}

/** What is read is written as the same text, so that no two texts name one place. */
function writtenAlike<Place>(parse: (input: string) => Place | undefined, write: (place: Place) => string) {
  return (input: string): Place | undefined => {
    const place = parse(input);
    if (place !== undefined) expect(write(place)).toBe(input);
    return place;
  };
}

/** The one decoder that may throw: a violation of the protocol, which ends the stream, and nothing else. */
function decodeFrames(bytes: Uint8Array): unknown {
  const frames: number[] = [];
  try {
    new FrameDecoder((type) => frames.push(type)).push(bytes);
  } catch (error) {
    if (!(error instanceof MeshError) || error.code !== 'protocol_violation') throw error;
  }
  return frames;
}

type Mutation =
  | { readonly kind: 'flip' | 'cut' | 'drop' | 'repeat'; readonly at: number; readonly length: number }
  | { readonly kind: 'insert' | 'overwrite'; readonly at: number; readonly bytes: Uint8Array };

const mutation: fc.Arbitrary<Mutation> = fc.oneof(
  fc.record({
    kind: fc.constantFrom('flip' as const, 'cut', 'drop', 'repeat'),
    at: fc.nat(100_000),
    length: fc.integer({ min: 1, max: 40 }),
  }),
  fc.record({
    kind: fc.constantFrom('insert' as const, 'overwrite'),
    at: fc.nat(100_000),
    bytes: fc.oneof(
      fc.uint8Array({ minLength: 1, maxLength: 12 }),
      fc.constantFrom(
        ...text('{', '}', '[[[[', '"', '\\u0000', '\ud800', '-0', '1e999', 'null', '\r\n', '\xff\xff\xff\xff'),
      ),
    ),
  }),
);

function mutate(bytes: Uint8Array, change: Mutation): Uint8Array {
  const at = change.at % (bytes.length + 1);
  const before = bytes.subarray(0, at);
  switch (change.kind) {
    case 'flip': {
      const flipped = Uint8Array.from(bytes);
      flipped[at] = (flipped[at] ?? 0) ^ (1 << (change.length & 7));
      return flipped;
    }
    case 'cut':
      return before;
    case 'drop':
      return Buffer.concat([before, bytes.subarray(at + change.length)]);
    case 'repeat':
      return Buffer.concat([before, bytes.subarray(at, at + change.length), bytes.subarray(at)]);
    case 'insert':
      return Buffer.concat([before, change.bytes, bytes.subarray(at)]);
    case 'overwrite':
      return Buffer.concat([before, change.bytes, bytes.subarray(at + change.bytes.length)]);
  }
}

describe.each(Object.entries(edges))('the decoder of a %s', (_, { decode, sound }) => {
  test('reads sound input', () => {
    for (const bytes of sound) {
      const decoded = decode(bytes);
      expect(decoded).toBeDefined();
      // Where a refusal is a value, this is none.
      expect((decoded as { ok?: boolean }).ok ?? true).toBe(true);
    }
  });

  test('throws nothing, whatever sound input was made into', () => {
    const mutants = fc
      .tuple(fc.constantFrom(...sound), fc.array(mutation, { minLength: 1, maxLength: 6 }))
      .map(([bytes, changes]) => changes.reduce(mutate, bytes));
    fc.assert(
      fc.property(mutants, (bytes) => void decode(bytes)),
      runs(5),
    );
  });

  test('throws nothing for bytes that never were any', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => void decode(bytes)),
      runs(3),
    );
  });
});
