import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import {
  assembleCertificate,
  batchOf,
  type Certificate,
  certificateBytesMax,
  decodeCertificate,
  encodeCertificate,
  isRegisterName,
  linkHash,
  majorityOf,
  type Statement,
  signBatch,
  signStatement,
  verifyBatch,
  verifyCertificate,
  verifyStatement,
} from '../../../crdt/certificate.ts';
import { blake3, fromHex, toBase32 } from '../../../crdt/digest.ts';
import type { ClusterId, NodeId } from '../../../crdt/ids.ts';
import type { BatchPlace } from '../../../crdt/vote-batch.ts';
import { certificateVectors, certifyInBatch } from '../../support/vectors/certificate.ts';
import { accepted, actorOf, refusal, testCluster, testNode } from '../../support/versions.ts';

const file = new URL('../../vectors/certificate.json', import.meta.url);
const vectors = JSON.parse(readFileSync(file, 'utf8')) as ReturnType<typeof certificateVectors>;
const cluster = vectors.cluster;
const coordinators = vectors.coordinators.map(({ nodeId, publicKey }) => ({
  nodeId,
  publicKey: fromHex(publicKey) as Uint8Array,
}));

const nodes = ['north', 'east', 'south'].map(testNode);
const head = toBase32(blake3(Buffer.from('head')));
const statement: Statement = {
  v: 1,
  register: 'control-log',
  epoch: 1,
  position: 1,
  head,
  previous: null,
  ballot: { counter: 1, proposer: actorOf(testNode('north')) },
};

function certify(names: readonly string[], under: Statement = statement, place: BatchPlace | null = null): Certificate {
  const signatures = names.map(testNode).map(({ nodeId, signer }): [NodeId, Uint8Array] => {
    return [nodeId, signStatement(under, signer, testCluster)];
  });
  return assembleCertificate(under, signatures, place);
}

const holds = (certificate: Certificate): boolean =>
  verifyCertificate(certificate, {
    cluster: testCluster,
    coordinators: nodes.map(({ nodeId, signer }) => ({ nodeId, publicKey: signer.publicKey })),
  });

describe('test/vectors/certificate.json', () => {
  test('is, byte for byte, what the code makes of the vectors today', () => {
    expect(readFileSync(file, 'utf8')).toBe(`${JSON.stringify(certificateVectors(), null, 2)}\n`);
  });

  test.each(vectors.accepted)('reads, links and verifies certificate %#', ({ text, link }) => {
    const certificate = accepted(decodeCertificate(text));
    expect(encodeCertificate(certificate)).toBe(text);
    expect(linkHash(cluster, certificate.statement.register, certificate.statement)).toBe(link);
    expect(verifyCertificate(certificate, { cluster, coordinators })).toBe(true);
  });

  test.each(vectors.unproven)('reads, and does not believe, $why', ({ text }) => {
    expect(verifyCertificate(accepted(decodeCertificate(text)), { cluster, coordinators })).toBe(false);
  });

  test.each(vectors.refused)('refuses $why', ({ text }) => {
    expect(refusal(decodeCertificate(text))).toEqual(expect.any(String));
  });
});

describe('a certificate', () => {
  test('holds with exactly a majority of the coordinators, and with all', () => {
    expect(holds(certify(['north', 'east']))).toBe(true);
    expect(holds(certify(['north', 'east', 'south']))).toBe(true);
  });

  test('does not hold with fewer than a majority', () => {
    expect(holds(certify(['north']))).toBe(false);
    expect(holds({ statement, signatures: [] })).toBe(false);
  });

  test('does not count a signer twice', () => {
    const [one] = certify(['north']).signatures as [readonly [NodeId, string]];
    expect(holds({ statement, signatures: [one, one] })).toBe(false);
    expect(holds({ statement, signatures: [one, one, one] })).toBe(false);
  });

  test('does not count the signature of one who is no coordinator', () => {
    expect(holds(certify(['north', 'stranger']))).toBe(false);
    expect(holds(certify(['north', 'stranger', 'visitor']))).toBe(false);
  });

  test('does not add up signatures of different ballots', () => {
    const later = { ...statement, ballot: { ...statement.ballot, counter: 2 } };
    const [a] = certify(['north']).signatures;
    const [b] = certify(['east'], later).signatures;
    const mixed = [a, b].sort((x, y) => ((x?.[0] ?? '') < (y?.[0] ?? '') ? -1 : 1)) as Certificate['signatures'];
    expect(holds({ statement, signatures: mixed })).toBe(false);
    expect(holds({ statement: later, signatures: mixed })).toBe(false);
  });

  test('holds in its own cluster only', () => {
    const foreign = toBase32(blake3(Buffer.from('another cluster'))) as ClusterId;
    const members = nodes.map(({ nodeId, signer }) => ({ nodeId, publicKey: signer.publicKey }));
    expect(verifyCertificate(certify(['north', 'east']), { cluster: foreign, coordinators: members })).toBe(false);
  });

  test('never verifies with one byte flipped', () => {
    const bytes = Buffer.from(encodeCertificate(certify(['north', 'east'])));
    for (let at = 0; at < bytes.length; at += 1) {
      for (const bit of [0x01, 0x10]) {
        const flipped = Buffer.from(bytes);
        flipped[at] = (flipped[at] ?? 0) ^ bit;
        const decoded = decodeCertificate(flipped.toString('utf8'));
        expect(decoded.ok && holds(decoded.value), `byte ${at}`).toBe(false);
      }
    }
  });

  test('under a batch never verifies with one byte changed', () => {
    const bytes = Buffer.from(encodeCertificate(certifyInBatch(3, nodes.slice(0, 2))));
    expect(holds(accepted(decodeCertificate(bytes.toString('utf8'))))).toBe(true);
    for (let at = 0; at < bytes.length; at += 1) {
      for (const byte of [(bytes[at] ?? 0) ^ 0x01, (bytes[at] ?? 0) ^ 0x10, 0x30, 0x34, 0x61]) {
        if (byte === bytes[at]) continue;
        const changed = Buffer.from(bytes);
        changed[at] = byte;
        const decoded = decodeCertificate(changed.toString('utf8'));
        expect(decoded.ok && holds(decoded.value), `byte ${at}`).toBe(false);
      }
    }
  });

  test('under a batch holds for each of its statements, in its own cluster only', () => {
    const members = nodes.map(({ nodeId, signer }) => ({ nodeId, publicKey: signer.publicKey }));
    const foreign = toBase32(blake3(Buffer.from('another cluster'))) as ClusterId;
    for (const index of [0, 1, 2, 3, 4]) {
      const certificate = certifyInBatch(index, nodes.slice(1));
      expect(holds(certificate)).toBe(true);
      expect(verifyCertificate(certificate, { cluster: foreign, coordinators: members })).toBe(false);
    }
  });

  test('does not hold by a signature under the digest of a batch in the domain of statements', () => {
    const batch = batchOf([statement, { ...statement, position: 2, previous: head }]);
    const signatures = nodes.map(({ nodeId, signer }): [NodeId, Uint8Array] => {
      return [nodeId, signer.sign(`anabranch/confirmation/1/${testCluster}`, batch.digest)];
    });
    expect(holds(assembleCertificate(statement, signatures, batch.place(0)))).toBe(false);
  });

  test('fits its limit with the most signers there can be, and the deepest place', () => {
    const names = Array.from({ length: 16 }, (_, at) => `n${at}`);
    const long = {
      ...statement,
      register: head,
      position: Number.MAX_SAFE_INTEGER,
      epoch: Number.MAX_SAFE_INTEGER,
      previous: head,
      ballot: { ...statement.ballot, counter: Number.MAX_SAFE_INTEGER },
    };
    const place = batchOf(Array.from({ length: 512 }, (_, at) => ({ ...long, epoch: at + 1 }))).place(511);
    for (const certificate of [certify(names, long), certify(names, long, place)]) {
      const text = encodeCertificate(certificate);
      expect(text.length).toBeLessThanOrEqual(certificateBytesMax);
      expect(decodeCertificate(text).ok).toBe(true);
    }
  });

  test('cannot be written when it could not be read', () => {
    expect(() => encodeCertificate({ statement: { ...statement, position: 2 }, signatures: [] })).toThrow(TypeError);
  });
});

describe('a statement', () => {
  test('is signed with every one of its fields', () => {
    const { nodeId: _, signer } = testNode('north');
    const signature = signStatement(statement, signer, testCluster);
    expect(verifyStatement(statement, signature, signer.publicKey, testCluster)).toBe(true);
    const others: Partial<Statement>[] = [
      { register: head },
      { epoch: 2 },
      { position: 2 },
      { previous: head },
      { ballot: { ...statement.ballot, counter: 2 } },
      { ballot: { ...statement.ballot, proposer: actorOf(testNode('north'), 2) } },
    ];
    for (const other of others) {
      expect(verifyStatement({ ...statement, ...other }, signature, signer.publicKey, testCluster)).toBe(false);
    }
  });
});

describe('a batch', () => {
  const second = { ...statement, epoch: 2 };
  const { signer } = testNode('north');

  test('is signed as these statements in this order, and no others', () => {
    const batch = batchOf([statement, second]);
    const signature = signBatch(batch, signer, testCluster);
    expect(verifyBatch(batch, signature, signer.publicKey, testCluster)).toBe(true);
    expect(verifyBatch(batchOf([second, statement]), signature, signer.publicKey, testCluster)).toBe(false);
    expect(verifyBatch(batchOf([statement, second, second]), signature, signer.publicKey, testCluster)).toBe(false);
    expect(verifyBatch(batch, signature, testNode('east').signer.publicKey, testCluster)).toBe(false);
    expect(verifyBatch(batch, signature.subarray(1), signer.publicKey, testCluster)).toBe(false);
  });

  test('has two statements at least and 512 at most', () => {
    expect(() => batchOf([statement])).toThrow(RangeError);
    expect(() => batchOf(Array.from({ length: 513 }, () => statement))).toThrow(RangeError);
  });
});

describe('names and majorities', () => {
  test('a register is the control log or a document', () => {
    expect(['control-log', head, '', 'control', head.slice(1)].map(isRegisterName)).toEqual([
      true,
      true,
      false,
      false,
      false,
    ]);
  });

  test('two majorities always meet, also those of sets that differ by one member', () => {
    expect([1, 2, 3, 4, 5, 6, 7].map(majorityOf)).toEqual([1, 2, 2, 3, 3, 4, 4]);
    for (let size = 1; size <= 16; size += 1) {
      expect(2 * majorityOf(size)).toBeGreaterThan(size);
      expect(majorityOf(size) + majorityOf(size + 1)).toBeGreaterThan(size + 1);
    }
  });
});
