import * as Automerge from '@automerge/automerge';
import { describe, expect, test } from 'vitest';
import { fromHex, toHex } from '../../../crdt/digest.ts';
import type { ClusterId, NodeId } from '../../../crdt/ids.ts';
import { readMembership, writeMembership } from '../../../crdt/membership.ts';
import {
  decodeDescriptor,
  isNewerDescriptor,
  signDescriptor,
  verifyDescriptor,
} from '../../../crdt/membership-descriptor.ts';
import { membershipDigest, packStamps, unpackStamps, withDescriptors } from '../../../crdt/membership-set.ts';
import { decodeHeartbeat, verifyHeartbeat } from '../../../protocols/membership/heartbeat.ts';
import { descriptorOf, fieldsOf } from '../../support/descriptors.ts';
import { readVectors } from '../../support/vectors/index.ts';
import { accepted, refusal, testCluster, testNode } from '../../support/versions.ts';

const vectors = readVectors('membership');
const keyOf = (nodeId: string): Uint8Array =>
  fromHex(vectors.keys.find((key) => key.nodeId === nodeId)?.publicKey ?? '') ?? expect.fail();
const north = testNode('north');
const actor = (life: number): Uint8Array => new Uint8Array(16).fill(life);

describe('a descriptor', () => {
  test.each(vectors.descriptors)('of the vectors is read, and signed by its node alone', (text) => {
    const signed = accepted(decodeDescriptor(text));
    expect(verifyDescriptor(signed, testCluster, keyOf(signed.descriptor.nodeId))).toBe(true);
    expect(verifyDescriptor(signed, testCluster, testNode('other').signer.publicKey)).toBe(false);
    expect(verifyDescriptor(signed, 'another' as ClusterId, keyOf(signed.descriptor.nodeId))).toBe(false);
  });

  test.each(vectors.refused)('with $why is refused', ({ text, reason }) => {
    expect(refusal(decodeDescriptor(text))).toBe(reason);
  });

  test('that would be refused is not signed', () => {
    expect(() => signDescriptor(fieldsOf(north, { sequence: 0 }), north.signer, testCluster)).toThrow(TypeError);
  });

  test('holds before another of its node by its number, and of one number by its text', () => {
    const first = descriptorOf(north, { sequence: 1, version: '9' });
    const second = descriptorOf(north, { sequence: 2, version: '1' });
    const double = descriptorOf(north, { sequence: 2, version: '2' });
    expect(isNewerDescriptor(second, first)).toBe(true);
    expect(isNewerDescriptor(first, second)).toBe(false);
    expect(isNewerDescriptor(second, second)).toBe(false);
    expect(isNewerDescriptor(second, double)).not.toBe(isNewerDescriptor(double, second));
  });
});

describe('a set of descriptors', () => {
  const set = withDescriptors(
    new Map(),
    vectors.descriptors.map((text) => accepted(decodeDescriptor(text))),
  );

  test('has the stamps and the digest of the vectors', () => {
    expect(toHex(packStamps(set))).toBe(vectors.stamps);
    expect(toHex(membershipDigest(set))).toBe(vectors.digest);
    expect(toHex(membershipDigest(new Map()))).toBe(vectors.emptyDigest);
    const stamps = accepted(unpackStamps(fromHex(vectors.stamps) as Uint8Array));
    expect(stamps.map(({ nodeId, sequence }) => [nodeId, sequence])).toEqual(
      [...set.values()].map(({ descriptor }) => [descriptor.nodeId, descriptor.sequence]).sort(),
    );
  });

  test('has no stamps that are cut short, out of order, twice, or without a sequence', () => {
    const stamps = packStamps(set);
    const [one, two] = [stamps.subarray(0, 32), stamps.subarray(32)];
    const zero = Uint8Array.from(one).fill(0, 16, 24);
    for (const bad of [stamps.subarray(1), Buffer.concat([two, one]), Buffer.concat([one, one]), zero]) {
      expect(unpackStamps(bad).ok).toBe(false);
    }
  });
});

describe('a heartbeat', () => {
  const bytes = fromHex(vectors.heartbeat.bytes) as Uint8Array;

  test('of the vectors is read, and signed by its node alone', () => {
    const signed = accepted(decodeHeartbeat(bytes));
    const { bytes: _, members, ...said } = vectors.heartbeat;
    expect(signed.heartbeat).toEqual({ ...said, members: fromHex(members) });
    expect(verifyHeartbeat(signed, testCluster, keyOf(said.nodeId))).toBe(true);
    expect(verifyHeartbeat(signed, 'another' as ClusterId, keyOf(said.nodeId))).toBe(false);
    expect(verifyHeartbeat(signed, testCluster, north.signer.publicKey)).toBe(false);
  });

  test('does not hold when a bit of it is changed', () => {
    for (let at = 0; at < bytes.length; at += 1) {
      const signed = decodeHeartbeat(Uint8Array.from(bytes, (byte, index) => (index === at ? byte ^ 1 : byte)));
      if (!signed.ok) continue;
      expect(verifyHeartbeat(signed.value, testCluster, keyOf(vectors.heartbeat.nodeId)), `byte ${at}`).toBe(false);
    }
  });
});

describe('a membership document', () => {
  const texts = new Map([
    ['a' as NodeId, '{"a":1}'],
    ['b' as NodeId, '{"b":1}'],
  ]);

  test('says what was written, over many lives, and any Automerge tool can open it', () => {
    const first = writeMembership(undefined, texts, actor(1));
    const next = new Map(texts).set('a' as NodeId, '{"a":2}');
    next.delete('b' as NodeId);
    const second = writeMembership(first, next, actor(2));
    expect(readMembership(first)).toEqual(texts);
    expect(readMembership(second)).toEqual(next);
    const document = Automerge.load<Record<string, unknown>>(second);
    expect(String(document.a)).toBe('{"a":2}');
    const history = Automerge.getHistory(document).map(({ change }) => [change.actor, change.time]);
    expect(history).toEqual([
      [toHex(actor(1)), 0],
      [toHex(actor(2)), 0],
    ]);
    Automerge.free(document);
  });

  test('is not changed by what it says already', () => {
    const first = writeMembership(undefined, texts, actor(1));
    expect(writeMembership(first, texts, actor(2))).toEqual(first);
  });

  test('is begun anew before its history grows without bound', () => {
    let saved: Uint8Array | undefined;
    for (let count = 0; count < 202; count += 1) {
      saved = writeMembership(saved, new Map([['a' as NodeId, String(count)]]), actor(1));
    }
    const document = Automerge.load(saved as Uint8Array);
    expect(Automerge.stats(document).numChanges).toBeLessThan(10);
    Automerge.free(document);
    expect(readMembership(saved as Uint8Array).get('a' as NodeId)).toBe('201');
  });

  test('that is damaged is not read', () => {
    const damaged = writeMembership(undefined, texts, actor(1)).map((byte, at) => (at === 30 ? byte ^ 1 : byte));
    expect(() => readMembership(damaged)).toThrow();
  });
});
