import { describe, expect, test } from 'vitest';
import { blake3, fromHex, toHex } from '../../../crdt/digest.ts';
import type { BlobHash, Result } from '../../../crdt/ids.ts';
import { AnswerPacker, AnswerParser } from '../../../protocols/blobs/answers.ts';
import { BufferPool } from '../../../protocols/blobs/buffer-pool.ts';
import { decodeWant, encodeWant } from '../../../protocols/blobs/messages.ts';
import * as control from '../../../protocols/control/messages.ts';
import { decodeGossip, encodeGossip } from '../../../protocols/gossip/messages.ts';
import * as membership from '../../../protocols/membership/messages.ts';
import * as metadata from '../../../protocols/metadata/messages.ts';
import * as quorum from '../../../protocols/quorum/messages.ts';
import * as replicas from '../../../protocols/replicas/messages.ts';
import * as sync from '../../../protocols/sync/messages.ts';
import { decodeCbor } from '../../../protocols/wire/cbor.ts';
import { FrameDecoder, frameType } from '../../../protocols/wire/frames.ts';
import { patternBytes } from '../../support/vectors/digest.ts';
import { readVectors } from '../../support/vectors/index.ts';
import { accepted } from '../../support/versions.ts';

interface Protocol {
  readonly requests: readonly { readonly bytes: string }[];
  readonly responses: readonly { readonly bytes: string }[];
  readonly refusedRequests: readonly { readonly why: string; readonly bytes: string }[];
  readonly refusedResponses: readonly { readonly why: string; readonly bytes: string }[];
  readonly decodeRequest: (bytes: Uint8Array) => Result<unknown, string>;
  readonly decodeResponse: (bytes: Uint8Array) => Result<unknown, string>;
  readonly encode: (message: never) => Uint8Array;
}

const vectors = {
  blobs: readVectors('blobs'),
  gossip: readVectors('gossip'),
  membership: readVectors('membership'),
  replicas: readVectors('replicas'),
  slots: readVectors('slots'),
  sync: readVectors('sync'),
  wire: readVectors('wire'),
};
/** Of `slots.json`, whose messages are in one list: requests or answers, as the protocol tells. */
const readable = (
  messages: readonly { readonly bytes: string }[],
  decode: (bytes: Uint8Array) => Result<unknown, string>,
) => messages.filter(({ bytes }) => decode(bytesOf(bytes)).ok);
const hex = ({ hex: bytes }: { readonly hex: string }) => ({ bytes });

const protocols: Readonly<Record<string, Protocol>> = {
  sync: {
    ...vectors.sync,
    requests: [...vectors.sync.requests, ...readable(vectors.slots.sync, sync.decodeSyncRequest)],
    responses: [...vectors.sync.responses, ...readable(vectors.slots.sync, sync.decodeSyncResponse)],
    decodeRequest: sync.decodeSyncRequest,
    decodeResponse: sync.decodeSyncResponse,
    encode: sync.encodeSyncMessage,
  },
  metadata: {
    ...vectors.slots,
    requests: readable(vectors.slots.metadata, metadata.decodeMetadataRequest),
    responses: readable(vectors.slots.metadata, metadata.decodeMetadataResponse),
    decodeRequest: metadata.decodeMetadataRequest,
    decodeResponse: metadata.decodeMetadataResponse,
    encode: metadata.encodeMetadataMessage,
  },
  control: {
    ...readVectors('control-messages'),
    decodeRequest: control.decodeControlRequest,
    decodeResponse: control.decodeControlResponse,
    encode: control.encodeControlMessage,
  },
  quorum: {
    ...readVectors('quorum-messages'),
    decodeRequest: quorum.decodeQuorumRequest,
    decodeResponse: quorum.decodeQuorumResponse,
    encode: quorum.encodeQuorumMessage,
  },
  membership: {
    ...vectors.membership,
    decodeRequest: membership.decodeMembershipRequest,
    decodeResponse: membership.decodeMembershipResponse,
    encode: membership.encodeMembershipMessage,
  },
  replicas: {
    ...vectors.replicas,
    requests: [...vectors.replicas.requests.map(hex), ...vectors.replicas.views.requests],
    responses: [...vectors.replicas.responses.map(hex), ...vectors.replicas.views.responses],
    decodeRequest: replicas.decodeReplicaRequest,
    decodeResponse: replicas.decodeReplicaResponse,
    encode: replicas.encodeReplicaMessage,
  },
};

function bytesOf(text: string): Uint8Array {
  return fromHex(text) ?? expect.fail(`not hex: ${text}`);
}

describe.each(Object.entries(protocols))('the messages of %s', (_, protocol) => {
  test('are read, and are written again byte for byte', () => {
    for (const [side, decode] of [
      ['requests', protocol.decodeRequest],
      ['responses', protocol.decodeResponse],
    ] as const) {
      expect(protocol[side].length).toBeGreaterThan(0);
      for (const { bytes } of protocol[side]) {
        const message = accepted(decode(bytesOf(bytes)));
        expect(toHex(protocol.encode(message as never))).toBe(bytes);
      }
    }
  });

  test('are refused when they are none', () => {
    const isRead = (decode: Protocol['decodeRequest'], bytes: string): boolean => decode(bytesOf(bytes)).ok;
    for (const { why, bytes } of protocol.refusedRequests) {
      expect(isRead(protocol.decodeRequest, bytes), why).toBe(false);
    }
    for (const { why, bytes } of protocol.refusedResponses) {
      expect(isRead(protocol.decodeResponse, bytes), why).toBe(false);
    }
  });
});

test('every message about slots is a request or an answer', () => {
  const { sync: ofSync, metadata: ofMetadata } = vectors.slots;
  const read = [
    ...readable(ofSync, sync.decodeSyncRequest),
    ...readable(ofSync, sync.decodeSyncResponse),
    ...readable(ofMetadata, metadata.decodeMetadataRequest),
    ...readable(ofMetadata, metadata.decodeMetadataResponse),
  ];
  expect(read).toHaveLength(ofSync.length + ofMetadata.length);
});

describe('the trees of sync', () => {
  const hash = (...parts: readonly (string | Uint8Array)[]): Buffer =>
    Buffer.from(blake3(Buffer.concat(parts.map((part) => Buffer.from(part as string)))));
  const ofItem = (at: number): Buffer => Buffer.concat([hash(`item ${at}`), hash(`state ${at} 0`)]);
  /** By the words of docs/protocol.md. */
  const summary = (items: readonly Buffer[], depth: number): { count: number; fingerprint: Buffer } => {
    const count = items.length;
    if (count === 0) return { count, fingerprint: Buffer.alloc(16) };
    if (count <= 32) return { count, fingerprint: hash('anabranch/leaf/1\0', ...items).subarray(0, 16) };
    const below = childrenOf(items, depth).map((child) => summary(child, depth + 1));
    const packed = below.map((child) => {
      const bytes = Buffer.alloc(20);
      bytes.writeUInt32BE(child.count);
      child.fingerprint.copy(bytes, 4);
      return bytes;
    });
    return { count, fingerprint: hash('anabranch/inner/1\0', ...packed).subarray(0, 16) };
  };
  const stepOf = (item: Buffer, depth: number): number => Number.parseInt(item.toString('hex').charAt(depth), 16);
  const childrenOf = (items: readonly Buffer[], depth: number): Buffer[][] =>
    Array.from({ length: 16 }, (_, step) => items.filter((item) => stepOf(item, depth) === step));
  const written = ({ count, fingerprint }: { count: number; fingerprint: Buffer }) => ({
    count,
    fingerprint: fingerprint.toString('hex'),
  });

  test.each(vectors.sync.trees)('say what a range of $items items at $prefix has', (tree) => {
    const all = Array.from({ length: tree.items }, (_, at) => ofItem(at)).sort(Buffer.compare);
    const items = all.filter((item) => tree.prefix.every((step, depth) => stepOf(item, depth) === step));
    const depth = tree.prefix.length;
    const split =
      items.length <= 32 ? {} : { split: childrenOf(items, depth).map((c) => written(summary(c, depth + 1))) };
    expect({ items: tree.items, prefix: tree.prefix, ...written(summary(items, depth)), ...split }).toEqual(tree);
  });

  test('of two sides lead to what they differ in', () => {
    const [seventh, last] = [ofItem(7), ofItem(698)].map((item) => [item.subarray(0, 32), item.subarray(32)]);
    const other = { key: seventh?.[0]?.toString('hex'), asker: null, answerer: seventh?.[1]?.toString('hex') };
    const changed = {
      key: last?.[0]?.toString('hex'),
      asker: last?.[1]?.toString('hex'),
      answerer: hash('state 698 1').toString('hex'),
    };
    const missing = ofItem(699).toString('hex');
    const gone = { key: missing.slice(0, 64), asker: missing.slice(64), answerer: null };
    expect(vectors.sync.exchange.differences).toHaveLength(3);
    expect(vectors.sync.exchange.differences).toEqual(expect.arrayContaining([other, changed, gone]));
  });
});

describe('the messages of gossip', () => {
  test('are read, and are written again byte for byte', () => {
    for (const { name, bytes } of vectors.gossip.messages) {
      const { hints } = accepted(decodeGossip(bytesOf(bytes)));
      expect(toHex(encodeGossip(hints)), name).toBe(bytes);
    }
    const texts = accepted(membership.decodeDescriptorGossip(bytesOf(vectors.membership.gossip)));
    expect(texts).toEqual(vectors.membership.descriptors);
  });

  test('are refused when they are none', () => {
    for (const { why, bytes } of vectors.gossip.refused) expect(decodeGossip(bytesOf(bytes)).ok, why).toBe(false);
  });
});

describe('blobs', () => {
  const byHash = new Map(vectors.blobs.blobs.map(({ hash, length }) => [hash, patternBytes(length)]));

  test('are wanted by hash, in the order of the message', () => {
    for (const { hashes, bytes } of vectors.blobs.wants) {
      expect(accepted(decodeWant(bytesOf(bytes)))).toEqual(hashes);
      expect(toHex(encodeWant(hashes as BlobHash[]))).toBe(bytes);
    }
    for (const { why, bytes } of vectors.blobs.refused) expect(decodeWant(bytesOf(bytes)).ok, why).toBe(false);
  });

  test.each(vectors.blobs.answers)('are answered in that order: $held', async ({ to, held, bytes }) => {
    const expected = to.map((hash) => {
      const blob = byHash.get(hash as BlobHash);
      return blob !== undefined && held.includes(blob.length) ? blob : undefined;
    });
    const sent: Uint8Array[] = [];
    const packer = new AnswerPacker(async (message) => void sent.push(message));
    for (const blob of expected) await packer.answer(blob);
    await packer.flush();
    expect(toHex(Buffer.concat(sent))).toBe(bytes);
    const received: (Uint8Array | undefined)[] = [];
    const parser = new AnswerParser(new BufferPool(), (blob) => received.push(blob));
    for (const byte of bytesOf(bytes)) parser.push(Uint8Array.of(byte));
    expect(received).toEqual(expected);
  });
});

describe('frames', () => {
  const names = Object.fromEntries(Object.entries(frameType).map(([name, type]) => [type, name]));

  test('are cut from a stream as the vectors have them', () => {
    for (const { frames, bytes } of vectors.wire.streams) {
      const seen: (string | undefined)[] = [];
      const decoder = new FrameDecoder((type) => seen.push(names[type]));
      decoder.push(bytesOf(bytes));
      expect(seen).toEqual(frames);
      expect(decoder.idle).toBe(true);
    }
  });

  test.each(vectors.wire.refusedStreams)('are refused: $why', ({ bytes }) => {
    expect(() => new FrameDecoder(() => undefined).push(bytesOf(bytes))).toThrow(
      expect.objectContaining({ code: 'protocol_violation' }),
    );
  });

  test('carry CBOR that is read back, and is refused in any other form', () => {
    for (const { value, bytes } of vectors.wire.cbor) {
      const read = accepted(decodeCbor(bytesOf(bytes)));
      expect(read instanceof Uint8Array ? { hex: toHex(read) } : read).toEqual(value);
    }
    for (const { why, bytes } of vectors.wire.refusedCbor) expect(decodeCbor(bytesOf(bytes)).ok, why).toBe(false);
  });
});
