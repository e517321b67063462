import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { coordinatorsMax } from '../../crdt/control/member.ts';
import { toBase32 } from '../../crdt/digest.ts';
import type { BlobHash, DocId, NodeId, VersionId } from '../../crdt/ids.ts';
import {
  auditWaitMsMax,
  challengesMax,
  leaseMsMax,
  listedMovesMax,
  movedNodesMax,
  plannedMax,
  pointsMax,
} from '../../protocols/replicas/limits.ts';
import {
  decodeReplicaRequest,
  decodeReplicaResponse,
  encodeReplicaMessage,
  packProof,
  type ReplicaRequest,
  type ReplicaResponse,
  unpackProof,
} from '../../protocols/replicas/messages.ts';
import {
  packCopy,
  packPlace,
  packPreview,
  packPull,
  unpackCopy,
  unpackPlace,
  unpackPreview,
  unpackPull,
} from '../../protocols/replicas/views.ts';
import { messageBytesMax } from '../../protocols/wire/frames.ts';
import {
  packAnswer,
  packChanges,
  packRange,
  unpackAnswer,
  unpackChanges,
  unpackRange,
} from '../../protocols/wire/item-sets.ts';
import { runs } from '../support/property-runs.ts';

const hash = fc.uint8Array({ minLength: 32, maxLength: 32 });
const node = fc.constantFrom('a'.repeat(26), 'b'.repeat(25).concat('a')) as fc.Arbitrary<NodeId>;
const points = fc
  .uniqueArray(fc.maxSafeNat(), { minLength: 1, maxLength: pointsMax })
  .map((list) => list.sort((a, b) => a - b));
const summary = fc.record({ count: fc.nat(), fingerprint: fc.uint8Array({ minLength: 16, maxLength: 16 }) });
const prefix = fc.array(fc.nat({ max: 15 }), { maxLength: 16 });
/** A value of all ones stands for none. */
const value = hash.filter((bytes) => bytes.some((byte) => byte !== 0xff));
const changes = fc.array(fc.record({ key: hash, value: fc.option(value, { nil: undefined }) }), { maxLength: 20 });

const id = hash.map((bytes) => toBase32(bytes));
const ns = fc.constant('docs');
const key = fc
  .string({ minLength: 1, maxLength: 40 })
  .map((text) => `k${text.replaceAll('\0', '').replaceAll('.', '')}`);
const nodes = fc.array(node, { maxLength: 4 });
const pulls = fc.record({
  ns,
  key,
  version: id as fc.Arbitrary<VersionId>,
  manifest: id as fc.Arbitrary<BlobHash>,
  sizeBytes: fc.maxSafeNat(),
  to: node,
  from: nodes,
  provedCopies: fc.nat(),
  isWaiting: fc.boolean(),
  waitsFor: fc.array(fc.tuple(node, fc.nat()), { maxLength: 3 }),
});
const copies = fc.record({
  nodeId: node,
  sizeBytes: fc.maxSafeNat(),
  provedMs: fc.option(fc.integer({ min: 1 }), { nil: undefined }),
  mark: fc.constantFrom('listed' as const, 'suspect', 'own'),
});
const lacks = fc.oneof(
  fc.record({ kind: fc.constant('replicas' as const), wanted: fc.nat(), placed: fc.nat() }),
  fc.record({ kind: fc.constant('diversity' as const), label: fc.constant('dc'), wanted: fc.nat(), placed: fc.nat() }),
);
const previews = fc.record({
  moves: fc.array(
    fc.record({
      ns,
      key,
      version: id as fc.Arbitrary<VersionId>,
      sizeBytes: fc.maxSafeNat(),
      from: nodes,
      to: nodes,
      lacks: fc.array(lacks, { maxLength: 2 }),
    }),
    { maxLength: 4 },
  ),
  totals: fc.record({
    subjects: fc.nat(),
    moved: fc.nat(),
    copies: fc.nat(),
    bytes: fc.maxSafeNat(),
    degraded: fc.nat(),
  }),
  nodes: fc.array(fc.tuple(node, fc.nat(), fc.nat(), fc.nat(), fc.nat()), { maxLength: 3 }),
  next: fc.option(fc.record({ doc: id as fc.Arbitrary<DocId>, version: id as fc.Arbitrary<VersionId> }), {
    nil: undefined,
  }),
});
const totals = fc.record({
  subjects: fc.nat(),
  healthy: fc.nat(),
  under: fc.nat(),
  mis: fc.nat(),
  over: fc.nat(),
  unreachable: fc.nat(),
  degraded: fc.nat(),
  pulls: fc.nat(),
  pullBytes: fc.maxSafeNat(),
  waitingPulls: fc.nat(),
  waitingBytes: fc.maxSafeNat(),
  surplusCopies: fc.nat(),
  surplusBytes: fc.maxSafeNat(),
});
const reason = fc.constantFrom('start' as const, 'timer', 'demand', 'liveness', 'repaired', 'placement');
const changeAsked = fc.oneof(
  fc.record({ kind: fc.constantFrom('leave' as const), node }),
  fc.record({ kind: fc.constantFrom('drain' as const), node }),
  fc.record({
    kind: fc.constant('join' as const),
    node,
    labels: fc.constantFrom({}, { dc: 'a' }),
    capacity: fc.integer({ min: 1, max: 64 }),
  }),
  fc.record({ kind: fc.constant('labels' as const), node, labels: fc.constantFrom({}, { dc: 'a' }) }),
  fc.record({ kind: fc.constant('capacity' as const), node, capacity: fc.integer({ min: 1, max: 64 }) }),
);

const requests: fc.Arbitrary<ReplicaRequest> = fc.oneof(
  fc.record({ t: fc.constant('status' as const) }),
  fc.record({ t: fc.constant('plan' as const), after: fc.option(pulls.map(packPlace)) }),
  fc.record({ t: fc.constant('audit' as const), wait: fc.nat({ max: auditWaitMsMax }) }),
  fc.record({ t: fc.constant('copies' as const), manifests: fc.array(hash, { minLength: 1, maxLength: 9 }) }),
  fc.record({ t: fc.constant('drain' as const), node }),
  fc.record({
    t: fc.constant('preview' as const),
    change: changeAsked,
    after: fc.option(fc.record({ doc: hash, version: hash })),
    moves: fc.nat({ max: listedMovesMax }),
  }),
  fc.record({
    t: fc.constant('feed' as const),
    feed: fc.option(fc.string({ minLength: 1, maxLength: 13 })),
    after: fc.nat(),
  }),
  fc.record({
    t: fc.constant('ranges' as const),
    ranges: fc.array(fc.record({ set: fc.constant(0), prefix, summary }).map(packRange), {
      minLength: 1,
      maxLength: 9,
    }),
  }),
  fc.record({
    t: fc.constant('prove' as const),
    nonce: hash,
    items: fc.array(fc.record({ manifest: hash, points }, { requiredKeys: ['manifest'] }), {
      minLength: 1,
      maxLength: 9,
    }),
  }),
  fc.record({
    t: fc.constant('prove' as const),
    nonce: hash,
    lease: fc.integer({ min: 1, max: leaseMsMax }),
    items: fc.array(fc.record({ manifest: hash }), { minLength: 1, maxLength: 9 }),
  }),
  fc.record({
    t: fc.constant('order' as const),
    items: fc.array(
      fc.record({
        ns: fc.constant('docs'),
        key: fc
          .string({ minLength: 1, maxLength: 40 })
          .map((text) => `k${text.replaceAll('\0', '').replaceAll('.', '')}`),
        version: hash,
        manifest: hash,
        holders: fc.array(node, { maxLength: 4 }),
      }),
      { minLength: 1, maxLength: 5 },
    ),
  }),
  fc.record({
    t: fc.constant('check' as const),
    items: fc.array(fc.record({ manifest: hash, node, points }), { minLength: 1, maxLength: 5 }),
  }),
);

const responses: fc.Arbitrary<ReplicaResponse> = fc.oneof(
  fc.record({
    t: fc.constant('status' as const),
    intents: fc.nat(),
    late: fc.nat(),
    auditor: fc.option(
      fc.record({
        running: fc.option(
          fc.record({ reason, phase: fc.constantFrom('inventories' as const, 'plan', 'checks'), subjects: fc.nat() }),
        ),
        last: fc.option(
          fc.record({
            reason,
            time: fc.nat(),
            took: fc.nat(),
            among: fc.array(node, { maxLength: coordinatorsMax }),
            totals,
            cut: fc.boolean(),
            suspects: fc.nat(),
            checks: fc.record({ proved: fc.nat(), lacking: fc.nat(), wrong: fc.nat(), unreachable: fc.nat() }),
          }),
        ),
        repairs: fc.record({ pulls: fc.nat(), bytes: fc.nat(), rate: fc.nat(), eta: fc.option(fc.nat()) }),
      }),
    ),
  }),
  fc.record({
    t: fc.constant('plan' as const),
    page: fc.option(fc.record({ pulls: fc.array(pulls.map(packPull), { maxLength: 4 }), more: fc.boolean() })),
  }),
  fc.record({ t: fc.constant('audit' as const), state: fc.option(fc.constantFrom('running' as const, 'done')) }),
  fc.record({
    t: fc.constant('copies' as const),
    copies: fc.option(fc.array(fc.array(copies.map(packCopy), { maxLength: 3 }), { maxLength: 4 })),
  }),
  fc.record({
    t: fc.constant('drain' as const),
    progress: fc.option(
      fc.record({
        contents: fc.nat(),
        remaining: fc.nat(),
        bytes: fc.nat(),
        unreadable: fc.nat(),
        current: fc.boolean(),
      }),
    ),
  }),
  fc.record({ t: fc.constant('preview' as const), page: fc.option(previews.map(packPreview)) }),
  fc.record({
    t: fc.constant('feed' as const),
    feed: fc.string({ minLength: 1, maxLength: 13 }),
    last: fc.nat(),
    through: fc.nat(),
    entries: fc.option(changes.map(packChanges)),
  }),
  fc.record({ t: fc.constant('working' as const) }),
  fc.record({
    t: fc.constant('proofs' as const),
    answers: fc.array(fc.oneof(hash, fc.constant(0 as const), fc.constant(1 as const)), { maxLength: 9 }),
  }),
  fc.record({ t: fc.constant('ordered' as const), taken: fc.nat({ max: 9 }) }),
  fc.record({
    t: fc.constant('checked' as const),
    results: fc.array(fc.constantFrom('proved' as const, 'lacking', 'wrong', 'unreachable'), { maxLength: 9 }),
  }),
);

describe('messages about replicas', () => {
  it('read back what was written', () => {
    fc.assert(
      fc.property(requests, (message) => {
        const decoded = decodeReplicaRequest(encodeReplicaMessage(message));
        expect(decoded.ok ? decoded.value : decoded.error).toEqual(message);
      }),
      runs(2),
    );
    fc.assert(
      fc.property(responses, (message) => {
        const decoded = decodeReplicaResponse(encodeReplicaMessage(message));
        expect(decoded.ok ? decoded.value : decoded.error).toEqual(message);
      }),
      runs(2),
    );
  });

  it('carry changes, ranges, their answers and proofs unchanged', () => {
    fc.assert(fc.property(changes, (list) => void expect(unpackChanges(packChanges(list))).toEqual(list)));
    fc.assert(
      fc.property(
        fc.record({ set: fc.nat({ max: 4_095 }), prefix, summary }),
        (question) => void expect(unpackRange(packRange(question))).toEqual(question),
      ),
    );
    fc.assert(
      fc.property(
        fc.array(fc.record({ key: hash, value: hash }), { maxLength: 9 }),
        (items) => void expect(unpackAnswer(packAnswer({ kind: 'items', items }))).toEqual({ kind: 'items', items }),
      ),
    );
    fc.assert(
      fc.property(
        fc.array(summary, { minLength: 16, maxLength: 16 }),
        (children) =>
          void expect(unpackAnswer(packAnswer({ kind: 'split', children }))).toEqual({ kind: 'split', children }),
      ),
    );
    fc.assert(
      fc.property(pulls, copies, previews, (pull, copy, preview) => {
        expect(unpackPull(packPull(pull))).toEqual(pull);
        const { isWaiting, provedCopies, sizeBytes, manifest, to, version } = pull;
        expect(unpackPlace(packPlace(pull))).toEqual({ isWaiting, provedCopies, sizeBytes, manifest, to, version });
        expect(unpackCopy(packCopy(copy))).toEqual(copy);
        expect(unpackPreview(packPreview(preview))).toEqual(preview);
      }),
    );
    for (const kind of ['same', 'later'] as const) expect(unpackAnswer(packAnswer({ kind }))).toEqual({ kind });
    for (const answer of ['lacking', 'busy', new Uint8Array(32)] as const)
      expect(unpackProof(packProof(answer))).toEqual(answer);
  });

  it('never throw on bytes that were changed, cut or made up', () => {
    const valid = fc.oneof(requests.map(encodeReplicaMessage), responses.map(encodeReplicaMessage));
    fc.assert(
      fc.property(valid, fc.nat(), fc.integer({ min: 1, max: 255 }), fc.nat(), (bytes, at, flip, cut) => {
        const mutated = Uint8Array.from(bytes);
        const index = at % mutated.length;
        mutated[index] = (mutated[index] ?? 0) ^ flip;
        for (const decode of [decodeReplicaRequest, decodeReplicaResponse]) {
          expect(() => decode(mutated)).not.toThrow();
          expect(() => decode(bytes.subarray(0, cut % bytes.length))).not.toThrow();
        }
      }),
      runs(3),
    );
  });

  it('refuse what they do not know and what is out of bounds', () => {
    const raw = new Uint8Array(32);
    const item = { manifest: raw };
    const refused: unknown[] = [
      { t: 'feed', feed: null, after: -1 },
      { t: 'ranges', ranges: [] },
      { t: 'prove', nonce: new Uint8Array(31), items: [item] },
      { t: 'prove', nonce: raw, items: [] },
      { t: 'prove', nonce: raw, items: Array(challengesMax + 1).fill(item) },
      { t: 'prove', nonce: raw, items: [{ ...item, points: [] }] },
      { t: 'prove', nonce: raw, items: [{ ...item, points: [2, 1] }] },
      { t: 'prove', nonce: raw, items: [{ ...item, points: [1, 1] }] },
      { t: 'prove', nonce: raw, items: [{ ...item, points: [-1] }] },
      { t: 'prove', nonce: raw, lease: leaseMsMax + 1, items: [item] },
      { t: 'prove', nonce: raw, lease: 0, items: [item] },
      // Nobody drops its own copy on the strength of a sample.
      { t: 'prove', nonce: raw, lease: 1_000, items: [{ ...item, points: [0] }] },
      { t: 'order', items: [{ ns: 'Docs', key: 'a', version: raw, manifest: raw, holders: [] }] },
      { t: 'order', items: [{ ns: 'docs', key: '..', version: raw, manifest: raw, holders: [] }] },
      { t: 'order', items: [{ ns: 'docs', key: 'a', version: raw, manifest: raw, holders: ['somebody'] }] },
      { t: 'check', items: [{ manifest: raw, node: 'a'.repeat(26) }] },
      { t: 'copies', manifests: Array(65).fill(raw) },
      { t: 'status', more: 1 },
      { t: 'plan' },
      { t: 'plan', after: { waiting: 1 } },
      { t: 'audit', wait: auditWaitMsMax + 1 },
      { t: 'copies', manifests: [] },
      { t: 'drain', node: 'somebody' },
      { t: 'preview', change: { kind: 'leave' }, after: null, moves: 1 },
      {
        t: 'preview',
        change: { kind: 'labels', node: 'a'.repeat(26), labels: { 'no label': '' } },
        after: null,
        moves: 1,
      },
      { t: 'preview', change: { kind: 'leave', node: 'a'.repeat(26) }, after: null, moves: listedMovesMax + 1 },
      { t: 'unknown' },
    ];
    for (const message of refused) {
      expect(decodeReplicaRequest(encodeReplicaMessage(message as ReplicaRequest)).ok).toBe(false);
    }
    const answers: unknown[] = [
      { t: 'feed', feed: 'a', last: 1, through: 1, entries: new Uint8Array(63) },
      { t: 'feed', feed: 'a', last: 1, through: 1, entries: new Uint8Array(1_025 * 64) },
      { t: 'proofs', answers: [2] },
      { t: 'checked', results: ['fine'] },
      { t: 'status', intents: -1, late: 0, auditor: null },
      { t: 'audit', state: 'maybe' },
      { t: 'copies', copies: [[['a'.repeat(26), 1, 0, 'gone']]] },
      { t: 'drain', progress: { contents: 1 } },
    ];
    for (const message of answers) {
      expect(decodeReplicaResponse(encodeReplicaMessage(message as ReplicaResponse)).ok).toBe(false);
    }
  });

  it('fit a frame even when they are as long as they may be', () => {
    const raw = new Uint8Array(32);
    const longest: ReplicaRequest = {
      t: 'order',
      items: Array.from({ length: 128 }, () => ({
        ns: 'n'.repeat(63),
        key: 'k'.repeat(1_024),
        version: raw,
        manifest: raw,
        holders: Array.from({ length: 16 }, () => 'a'.repeat(26) as NodeId),
      })),
    };
    expect(decodeReplicaRequest(encodeReplicaMessage(longest)).ok).toBe(true);
    expect(encodeReplicaMessage(longest).length).toBeLessThan(messageBytesMax);
    const everybody = Array.from({ length: 16 }, () => 'a'.repeat(26) as NodeId);
    const most = Number.MAX_SAFE_INTEGER;
    const object = { ns: 'n'.repeat(63), key: 'k'.repeat(1_024), version: raw, size: most };
    const lack = { kind: 'diversity' as const, label: 'l'.repeat(63), wanted: 16, placed: 16 };
    const longAnswers: ReplicaResponse[] = [
      {
        t: 'plan',
        page: {
          pulls: Array.from({ length: plannedMax }, () => ({
            ...object,
            manifest: raw,
            to: 'a'.repeat(26) as NodeId,
            from: everybody,
            proved: 16,
            waiting: true,
            waits: everybody.map((each) => [each, 600_000]),
          })),
          more: true,
        },
      },
      {
        t: 'copies',
        copies: Array.from({ length: 64 }, () =>
          Array.from({ length: 64 }, () => ['a'.repeat(26) as NodeId, most, most, 'suspect' as const]),
        ),
      },
      {
        t: 'preview',
        page: {
          moves: Array.from({ length: listedMovesMax }, () => ({
            ...object,
            from: everybody,
            to: everybody,
            lacks: Array.from({ length: 9 }, () => lack),
          })),
          totals: { subjects: most, moved: most, copies: most, bytes: most, degraded: most },
          nodes: Array.from({ length: movedNodesMax }, () => ['a'.repeat(26) as NodeId, 16_384, most, 16_384, most]),
          next: { doc: raw, version: raw },
        },
      },
    ];
    for (const answer of longAnswers) {
      expect(decodeReplicaResponse(encodeReplicaMessage(answer)).ok).toBe(true);
      expect(encodeReplicaMessage(answer).length, answer.t).toBeLessThan(messageBytesMax);
    }
  });
});
