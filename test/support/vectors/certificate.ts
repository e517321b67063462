import {
  assembleCertificate,
  type Certificate,
  encodeCertificate,
  linkHash,
  type RegisterValue,
  type Statement,
  signStatement,
} from '../../../crdt/certificate.ts';
import { blake3, toBase32, toHex } from '../../../crdt/digest.ts';
import type { NodeId } from '../../../crdt/ids.ts';
import { actorOf, type TestNode, testCluster, testNode } from '../versions.ts';

const nodes = ['north', 'east', 'south'].map(testNode) as [TestNode, TestNode, TestNode];
const [north, east, south] = nodes;
const hashOf = (text: string): string => toBase32(blake3(Buffer.from(text)));
const register = hashOf('an object');
const first: RegisterValue = { position: 1, head: hashOf('first'), previous: null };
const second: RegisterValue = { position: 2, head: hashOf('second'), previous: linkHash(testCluster, register, first) };

function statementOf(value: RegisterValue, changes: Partial<Statement> = {}): Statement {
  return { v: 1, register, epoch: 1, ...value, ballot: { counter: 1, proposer: actorOf(north) }, ...changes };
}

function certify(statement: Statement, signers: readonly TestNode[]): Certificate {
  return assembleCertificate(
    statement,
    signers.map(({ nodeId, signer }) => [nodeId, signStatement(statement, signer, testCluster)]),
  );
}

export function certificateVectors() {
  const accepted = [
    certify(statementOf(first), [north, east]),
    certify(statementOf(second, { epoch: 3, ballot: { counter: 9, proposer: actorOf(east) } }), nodes),
    certify(statementOf(first, { register: 'control-log' }), [south, north]),
  ];
  const base = accepted[0] as Certificate;
  const higher = certify(statementOf(first, { ballot: { counter: 2, proposer: actorOf(north) } }), [east]);
  const stranger = testNode('stranger');
  const signatures = (...pairs: readonly (readonly [NodeId, string])[]): Certificate['signatures'] =>
    [...pairs].sort(([a], [b]) => (a < b ? -1 : 1));
  const ofNorth = base.signatures.find(([nodeId]) => nodeId === north.nodeId) as [NodeId, string];
  return {
    about:
      'A certificate is canonical JSON; its signatures are ed25519 by the domain anabranch/confirmation/1/<cluster> over BLAKE3 of the canonical JSON of `statement`. `link` is BLAKE3, in base32, of {v, cluster, register, position, head, previous}. It holds for `coordinators` when a majority of them signed and nobody else is named. `refused` cannot be read; `unproven` can be read and does not hold.',
    cluster: testCluster,
    coordinators: nodes.map(({ nodeId, signer }) => ({ nodeId, publicKey: toHex(signer.publicKey) })),
    accepted: accepted.map((certificate) => ({
      text: encodeCertificate(certificate),
      link: linkHash(testCluster, certificate.statement.register, certificate.statement),
    })),
    unproven: [
      { why: 'one signature of three coordinators', certificate: certify(statementOf(first), [north]) },
      {
        why: 'signatures of two ballots',
        certificate: { ...base, signatures: signatures(ofNorth, ...higher.signatures) },
      },
      { why: 'a signer who is no coordinator', certificate: certify(statementOf(first), [north, stranger]) },
      { why: 'a stranger beside a majority', certificate: certify(statementOf(first), [north, east, stranger]) },
      { why: 'another epoch', certificate: { ...base, statement: { ...base.statement, epoch: 2 } } },
      { why: 'another register', certificate: { ...base, statement: { ...base.statement, register: 'control-log' } } },
      { why: 'another head', certificate: { ...base, statement: { ...base.statement, head: second.head } } },
    ].map(({ why, certificate }) => ({ why, text: encodeCertificate(certificate) })),
    refused: refusedTexts(base),
  };
}

function refusedTexts(base: Certificate): { why: string; text: string }[] {
  const text = encodeCertificate(base);
  const [one, two] = base.signatures as [readonly [NodeId, string], readonly [NodeId, string]];
  const changed = (why: string, from: string, to: string): { why: string; text: string } => {
    const after = text.replace(from, to);
    if (after === text) throw new Error(`the vector '${why}' changes nothing`);
    return { why, text: after };
  };
  const withSignatures = (pairs: readonly unknown[]): string =>
    `{"signatures":${JSON.stringify(pairs)},"statement":${text.slice(text.indexOf('{"ballot"'))}`;
  return [
    { why: 'white space', text: `${text} ` },
    { why: 'no certificate', text: '{}' },
    { why: 'longer than 4096 bytes', text: withSignatures(Array.from({ length: 40 }, () => one)) },
    { why: 'no signature', text: withSignatures([]) },
    { why: 'a signer twice', text: withSignatures([one, one]) },
    { why: 'signers out of order', text: withSignatures([two, one]) },
    { why: 'a signature cut short', text: withSignatures([[one[0], one[1].slice(4)], two]) },
    changed('unknown version', '"v":1', '"v":2'),
    changed('unknown field', '"v":1', '"v":1,"w":1'),
    changed('no position', '"position":1', '"position":0'),
    changed('no link after position 1', '"position":1', '"position":2'),
    changed('no epoch', '"epoch":1', '"epoch":1.5'),
    changed('no ballot', '"counter":1', '"counter":0'),
    changed('no proposer', actorOf(north), north.nodeId),
    changed('no register', register, 'control'),
    changed('no head', first.head, first.head.toUpperCase()),
  ];
}
