import {
  assembleCertificate,
  batchOf,
  type Certificate,
  encodeCertificate,
  type Statement,
  signBatch,
  signStatement,
} from '../../../crdt/certificate.ts';
import { verifyConfirmation } from '../../../crdt/confirmation-verify.ts';
import { blake3, toBase32 } from '../../../crdt/digest.ts';
import { documentId } from '../../../crdt/object-document.ts';
import { sampleLog } from '../control-log.ts';
import { actorOf, refusal, testNode } from '../versions.ts';

const object = { ns: 'docs', key: 'plan.txt' };

export function confirmationVectors() {
  const log = sampleLog();
  const { cluster } = log;
  const [genesisText = '', ...controlLogLines] = log.lines();
  const statement = {
    v: 1,
    register: documentId(cluster, object.ns, object.key),
    epoch: 1,
    position: 1,
    head: toBase32(blake3(Buffer.from('a version'))),
    previous: null,
    ballot: { counter: 1, proposer: actorOf(testNode('north')) },
  } as const;
  const certify = (changes: Partial<Statement>, ...names: readonly string[]): string => {
    const signed = { ...statement, ...changes } as Statement;
    const signatures = names.map((name) => {
      const { nodeId, signer } = testNode(name);
      return [nodeId, signStatement(signed, signer, cluster)] as const;
    });
    const certificate: Certificate = assembleCertificate(signed, signatures);
    return encodeCertificate(certificate);
  };
  const certifyInBatch = (place: number, ...names: readonly string[]): string => {
    const other = { ...statement, register: documentId(cluster, 'docs', 'other.txt') };
    const batch = batchOf([other, statement]);
    const signatures = names.map((name) => {
      const { nodeId, signer } = testNode(name);
      return [nodeId, signBatch(batch, signer, cluster)] as const;
    });
    return encodeCertificate(assembleCertificate(statement, signatures, batch.place(place)));
  };
  const founding = certify({}, 'north', 'east');
  const later = certify({ epoch: 3 }, 'north', 'west');
  const refused = [
    { why: 'coordinators of another epoch', lines: controlLogLines, certificate: certify({}, 'north', 'west') },
    { why: 'a log that ends before the epoch', lines: [], certificate: later },
    { why: 'a log with a missing entry', lines: controlLogLines.slice(1), certificate: later },
    { why: 'an epoch that never was', lines: controlLogLines, certificate: certify({ epoch: 9 }, 'north', 'east') },
    {
      why: 'another object',
      lines: [],
      certificate: certify({ register: documentId(cluster, 'docs', 'other.txt') }, 'north', 'east'),
    },
    {
      why: 'the control log’s own',
      lines: [],
      certificate: certify({ register: 'control-log' }, 'north', 'east'),
    },
    { why: 'another place in the batch', lines: [], certificate: certifyInBatch(0, 'north', 'east') },
    { why: 'no certificate', lines: [], certificate: '{}' },
  ];
  return {
    about:
      'Whether a version of an object is confirmed, checked with nothing but the cluster id: `genesisText`, as many `controlLogLines` as the epoch needs, and the certificate. `accepted`: what is proved. `refused`: the reason this implementation gives.',
    cluster,
    object,
    genesisText,
    controlLogLines,
    accepted: [
      { lines: 0, certificate: founding },
      { lines: controlLogLines.length, certificate: later },
      { lines: 0, certificate: certifyInBatch(1, 'north', 'east') },
    ],
    refused: refused.map(({ why, lines, certificate }) => ({
      why,
      lines: lines.length === 0 ? 'none' : lines.length < controlLogLines.length ? 'all but the first' : 'all',
      certificate,
      reason: refusal(verifyConfirmation({ genesisText, controlLogLines: lines, certificate }, { cluster, object })),
    })),
  };
}
