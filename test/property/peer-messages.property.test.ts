import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { toBase32 } from '../../crdt/digest.ts';
import type { DocId, Result, VersionId } from '../../crdt/ids.ts';
import type { RangeAnswer } from '../../crdt/reconcile.ts';
import { certificateHint, decodeGossip, encodeGossip, hintOf } from '../../protocols/gossip/messages.ts';
import {
  decodeSyncRequest,
  decodeSyncResponse,
  encodeSyncMessage,
  type SyncRequest,
  type SyncResponse,
} from '../../protocols/sync/messages.ts';
import { packAnswer, packChanges, packRange, unpackAnswer, unpackRange } from '../../protocols/wire/item-sets.ts';
import { runs } from '../support/property-runs.ts';

const hash = fc.uint8Array({ minLength: 32, maxLength: 32 });
const text = fc.uint8Array({ maxLength: 200 });
const slot = fc.nat({ max: 4_095 });

const summary = fc.record({ count: fc.nat(), fingerprint: fc.uint8Array({ minLength: 16, maxLength: 16 }) });
const prefix = fc.array(fc.nat({ max: 15 }), { maxLength: 16 });
const items = fc.array(fc.record({ key: hash, value: hash }), { maxLength: 20 });
const feed = fc.string({ minLength: 1, maxLength: 13 });
const slotBits = fc.uint8Array({ minLength: 1, maxLength: 512 });
const places = fc.array(fc.nat({ max: 255 }), { maxLength: 256 });

const requests: fc.Arbitrary<SyncRequest> = fc.oneof(
  fc.record(
    { t: fc.constant('feed' as const), feed: fc.option(feed), after: fc.nat(), slots: slotBits },
    { requiredKeys: ['t', 'feed', 'after'] },
  ),
  fc.record({
    t: fc.constant('offer' as const),
    docs: fc.array(fc.record({ doc: hash, heads: fc.array(hash, { maxLength: 5 }) }), { minLength: 1, maxLength: 10 }),
  }),
  fc.record({
    t: fc.constant('ranges' as const),
    ranges: fc.array(fc.record({ set: slot, prefix, summary }).map(packRange), { minLength: 1, maxLength: 20 }),
  }),
  fc.record({
    t: fc.constant('records' as const),
    wants: fc.array(
      fc.record(
        {
          doc: hash,
          have: fc.array(hash, { maxLength: 5 }),
          confirmed: fc.record({ position: fc.integer({ min: 1 }), head: hash }),
        },
        { requiredKeys: ['doc', 'have'] },
      ),
      { maxLength: 10 },
    ),
  }),
  fc.record({ t: fc.constant('fetch' as const), versions: fc.array(hash, { maxLength: 10 }) }),
);

const answers: fc.Arbitrary<RangeAnswer> = fc.oneof(
  fc.constant({ kind: 'same' as const }),
  fc.constant({ kind: 'later' as const }),
  fc.record({ kind: fc.constant('items' as const), items }),
  fc.record({
    kind: fc.constant('split' as const),
    children: fc.array(summary, { minLength: 16, maxLength: 16 }),
  }),
);

const responses: fc.Arbitrary<SyncResponse> = fc.oneof(
  fc.record({
    t: fc.constant('feed' as const),
    feed,
    last: fc.nat(),
    through: fc.nat(),
    entries: fc.option(items.map(packChanges)),
    slots: fc.record({ kept: slotBits, whole: slotBits }),
  }),
  fc.record({ t: fc.constant('ranges' as const), answers: fc.array(answers.map(packAnswer), { maxLength: 20 }) }),
  fc.record({ t: fc.constant('records' as const), texts: fc.array(text) }),
  fc.record({
    t: fc.constant('certificates' as const),
    texts: fc.array(fc.string({ maxLength: 100 }), { minLength: 1, maxLength: 32 }),
  }),
  fc.record({ t: fc.constant('done' as const), more: fc.boolean(), partial: places }, { requiredKeys: ['t', 'more'] }),
  fc.record({ t: fc.constant('offered' as const), lacks: places }),
);

const gossip = fc
  .array(
    fc.record({
      doc: hash,
      heads: fc.array(hash, { maxLength: 16 }),
      records: fc.array(text),
      certificate: fc.option(fc.string({ maxLength: 100 })),
    }),
    { minLength: 1, maxLength: 20 },
  )
  .map((hints) =>
    hints.map(({ doc, heads, records, certificate }) => {
      const [head] = heads;
      if (certificate !== null && head !== undefined) {
        return certificateHint(toBase32(doc) as DocId, toBase32(head) as VersionId, certificate);
      }
      return hintOf(
        toBase32(doc) as DocId,
        heads.map((each) => toBase32(each) as VersionId),
        records,
      );
    }),
  );

describe('sync and gossip messages', () => {
  it('read back what was written', () => {
    fc.assert(fc.property(requests, (message) => roundTrips(message, encodeSyncMessage, decodeSyncRequest)));
    fc.assert(fc.property(responses, (message) => roundTrips(message, encodeSyncMessage, decodeSyncResponse)));
    fc.assert(
      fc.property(gossip, (hints) => {
        const decoded = decodeGossip(encodeGossip(hints));
        expect(decoded.ok && decoded.value.hints.map((hint) => hint.doc)).toEqual(hints.map((hint) => hint.doc));
      }),
    );
  });

  it('carry ranges and their answers unchanged', () => {
    fc.assert(
      fc.property(fc.record({ set: slot, prefix, summary }), (question) => {
        expect(unpackRange(packRange(question))).toEqual(question);
      }),
    );
    fc.assert(
      fc.property(answers, (answer) => {
        expect(unpackAnswer(packAnswer(answer))).toEqual(answer);
      }),
    );
  });

  it('never throw on bytes that were changed, cut or made up', () => {
    const decoders = [decodeSyncRequest, decodeSyncResponse, decodeGossip] as const;
    const valid = fc.oneof(requests.map(encodeSyncMessage), responses.map(encodeSyncMessage), gossip.map(encodeGossip));
    fc.assert(
      fc.property(valid, fc.nat(), fc.integer({ min: 1, max: 255 }), fc.nat(), (bytes, at, flip, cut) => {
        const mutated = Uint8Array.from(bytes);
        const index = at % mutated.length;
        mutated[index] = (mutated[index] ?? 0) ^ flip;
        for (const decode of decoders) {
          expect(() => decode(mutated)).not.toThrow();
          expect(() => decode(bytes.subarray(0, cut % bytes.length))).not.toThrow();
        }
      }),
      runs(5),
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        for (const decode of decoders) expect(() => decode(bytes)).not.toThrow();
      }),
      runs(5),
    );
  });

  it('refuse fields they do not know and numbers out of bounds', () => {
    const refused: unknown[] = [
      { t: 'feed', feed: null, after: -1 },
      { t: 'feed', feed: null, after: 0, extra: 1 },
      { t: 'feed', feed: null, after: 0, slots: new Uint8Array(0) },
      { t: 'feed', feed: null, after: 0, slots: new Uint8Array(513) },
      { t: 'offer', docs: [] },
      { t: 'offer', docs: Array(257).fill({ doc: new Uint8Array(32), heads: [] }) },
      { t: 'offer', docs: [{ doc: new Uint8Array(32), heads: Array(1_025).fill(new Uint8Array(32)) }] },
      { t: 'ranges', ranges: [] },
      { t: 'ranges', ranges: [[4_096, new Uint8Array(0), new Uint8Array(20)]] },
      { t: 'ranges', ranges: [[0, Uint8Array.of(16), new Uint8Array(20)]] },
      { t: 'ranges', ranges: [[0, new Uint8Array(17), new Uint8Array(20)]] },
      { t: 'ranges', ranges: [[0, new Uint8Array(0), new Uint8Array(19)]] },
      { t: 'fetch', versions: ['text'] },
      {
        t: 'records',
        wants: [{ doc: new Uint8Array(32), have: [], confirmed: { position: 0, head: new Uint8Array(32) } }],
      },
      { t: 'unknown' },
      null,
    ];
    for (const message of refused) {
      expect(decodeSyncRequest(encodeSyncMessage(message as SyncRequest)).ok).toBe(false);
    }
    const refusedAnswers: unknown[] = [
      { t: 'offered', lacks: [256] },
      { t: 'done', more: false, partial: [-1] },
      { t: 'certificates', texts: [] },
      { t: 'certificates', texts: Array(33).fill('{}') },
      { t: 'certificates', texts: ['x'.repeat(4_097)] },
      { t: 'certificates', texts: [new Uint8Array(1)] },
    ];
    for (const message of refusedAnswers) {
      expect(decodeSyncResponse(encodeSyncMessage(message as SyncResponse)).ok).toBe(false);
    }
  });
});

function roundTrips<T>(
  message: T,
  encode: (message: T) => Uint8Array,
  decode: (bytes: Uint8Array) => Result<T, string>,
) {
  const decoded = decode(encode(message));
  expect(decoded.ok && encode(decoded.value)).toEqual(encode(message));
}
