import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeCbor, encodeCbor } from '../../protocols/wire/cbor.ts';
import type { FrameType } from '../../protocols/wire/frames.ts';
import {
  creditFrame,
  dataFrame,
  dataHeader,
  endFrame,
  FrameDecoder,
  frameHeaderBytes,
  frameType,
  helloFrame,
  messageBytesMax,
  messageCost,
} from '../../protocols/wire/frames.ts';
import { MeshError } from '../../src/ports/mesh-error.ts';

interface Frame {
  readonly type: FrameType;
  readonly payload: Uint8Array;
}

/** Feeds the bytes in pieces of the given sizes, over and over. */
function decodeInPieces(bytes: Uint8Array, sizes: readonly number[]): { frames: Frame[]; idle: boolean } {
  const frames: Frame[] = [];
  const decoder = new FrameDecoder((type, payload) => frames.push({ type, payload }));
  for (let offset = 0, turn = 0; offset < bytes.byteLength; turn++) {
    const size = sizes[turn % sizes.length] ?? 1;
    decoder.push(bytes.subarray(offset, offset + size));
    offset += size;
  }
  return { frames, idle: decoder.idle };
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

const payloads = fc.oneof(fc.uint8Array({ maxLength: 300 }), fc.constant(new Uint8Array(2_000).fill(3)));
const frames = fc.oneof(
  payloads.map((payload) => ({ bytes: dataFrame(payload), type: frameType.data, payload })),
  fc.integer({ min: 1, max: 2 ** 32 - 1 }).map((credit) => {
    const bytes = creditFrame(credit);
    return { bytes, type: frameType.credit, payload: bytes.slice(frameHeaderBytes) };
  }),
  fc.constant({ bytes: endFrame(), type: frameType.end, payload: new Uint8Array(0) }),
);
const sizes = fc.array(fc.integer({ min: 1, max: 3_000 }), { minLength: 1, maxLength: 5 });

describe('wire frames', () => {
  it('come out as they went in, however the stream was cut', () => {
    fc.assert(
      fc.property(fc.array(frames, { maxLength: 12 }), sizes, (sent, pieces) => {
        const { frames: received, idle } = decodeInPieces(concat([helloFrame(), ...sent.map((f) => f.bytes)]), pieces);
        expect(received[0]?.type).toBe(frameType.hello);
        expect(received.slice(1)).toEqual(sent.map(({ type, payload }) => ({ type, payload })));
        expect(idle).toBe(true);
      }),
    );
  });

  it('cost and carry the same when they are handed out piecewise, in few pieces', () => {
    const messages = fc.array(fc.nat(60_000), { maxLength: 8 });
    const pieceSizes = fc.array(fc.integer({ min: 1, max: 20_000 }), { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(messages, pieceSizes, (lengths, cuts) => {
        const sent = lengths.map((length, index) => new Uint8Array(length).fill(index + 1));
        const bytes = concat([helloFrame(), ...sent.map((payload) => dataFrame(payload))]);
        const pieces: Uint8Array[] = [];
        let paid = 0;
        const decoder = new FrameDecoder(
          (type, payload, cost) => {
            if (type === frameType.data) pieces.push(payload);
            paid += cost;
          },
          { piecewise: true },
        );
        for (let offset = 0, turn = 0; offset < bytes.byteLength; turn++) {
          const size = cuts[turn % cuts.length] ?? 1;
          decoder.push(bytes.subarray(offset, offset + size));
          offset += size;
        }
        expect(Buffer.compare(concat(pieces), concat(sent))).toBe(0);
        expect(paid).toBe(lengths.reduce((sum, length) => sum + messageCost(length), 0));
        expect(pieces.length).toBeLessThanOrEqual(lengths.length + bytes.byteLength / 4_096);
      }),
    );
  });

  it('survive any bytes: they are decoded or refused as a protocol violation, never anything else', () => {
    const hostile = fc.oneof(
      fc.uint8Array({ maxLength: 400 }),
      fc.tuple(fc.constant(helloFrame()), fc.uint8Array({ maxLength: 400 })).map(concat),
      // A true prefix with one byte changed reaches deeper than noise does.
      fc
        .tuple(fc.array(frames, { minLength: 1, maxLength: 4 }), fc.nat(), fc.nat(255))
        .map(([sent, position, value]) => {
          const bytes = concat([helloFrame(), ...sent.map((f) => f.bytes)]);
          bytes[position % bytes.length] = value;
          return bytes;
        }),
    );
    fc.assert(
      fc.property(hostile, sizes, (bytes, pieces) => {
        let delivered = 0;
        try {
          for (const { payload } of decodeInPieces(bytes, pieces).frames) delivered += payload.byteLength;
        } catch (error) {
          expect(error).toBeInstanceOf(MeshError);
          expect((error as MeshError).code).toBe('protocol_violation');
        }
        expect(delivered).toBeLessThanOrEqual(bytes.byteLength);
      }),
    );
  });

  it('are refused by their header when too long, before anything is kept for them', () => {
    fc.assert(
      fc.property(fc.integer({ min: messageBytesMax + 1, max: 2 ** 32 - 1 }), (length) => {
        const decoder = new FrameDecoder(() => undefined);
        decoder.push(helloFrame());
        expect(() => decoder.push(dataHeader(length))).toThrow(MeshError);
      }),
    );
  });

  it('keep no more than twice their payload alive', () => {
    const chunk = concat([helloFrame(), ...Array.from({ length: 200 }, () => dataFrame(new Uint8Array(64)))]);
    const { frames: received } = decodeInPieces(chunk, [chunk.byteLength]);
    for (const { payload } of received.slice(1)) expect(payload.buffer.byteLength).toBeLessThanOrEqual(128);
  });
});

describe('CBOR messages', () => {
  it('come back as they went', () => {
    const leaf = fc.oneof(fc.string(), fc.maxSafeInteger(), fc.boolean(), fc.constant(null), fc.uint8Array());
    const message = fc.dictionary(fc.string(), fc.oneof(leaf, fc.array(leaf), fc.dictionary(fc.string(), leaf)));
    fc.assert(
      fc.property(message, (value) => {
        const decoded = decodeCbor(encodeCbor(value));
        expect(decoded.ok && encodeCbor(decoded.value)).toEqual(encodeCbor(value));
      }),
    );
  });

  it('survive any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        expect(decodeCbor(bytes)).toHaveProperty('ok');
      }),
    );
  });

  it('refuse what only loose decoders take', () => {
    const refused: Record<string, readonly number[]> = {
      'an indefinite array': [0x9f, 0x01, 0xff],
      'an integer longer than it need be': [0x18, 0x01],
      'a map with a key twice': [0xa2, 0x61, 0x61, 0x01, 0x61, 0x61, 0x02],
      undefined: [0xf7],
      'not a number': [0xf9, 0x7e, 0x00],
      'a tag': [0xc1, 0x01],
      'two values': [0x01, 0x01],
      nothing: [],
      'an array of four billion': [0x9a, 0xff, 0xff, 0xff, 0xff],
    };
    for (const [name, bytes] of Object.entries(refused)) {
      expect(decodeCbor(Uint8Array.from(bytes)).ok, name).toBe(false);
    }
    expect(decodeCbor(new Uint8Array(messageBytesMax).fill(0x81)).ok, 'nested without end').toBe(false);
  });
});
