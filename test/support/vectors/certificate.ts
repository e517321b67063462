import {
  assembleCertificate,
  batchOf,
  type Certificate,
  encodeCertificate,
  linkHash,
  type RegisterValue,
  type Statement,
  signBatch,
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

/** Five statements that are signed together: three first rounds, and two later ones. */
const together = ['a', 'b', 'c', 'd', 'e'].map((name, at) => {
  const ballot = { counter: at < 3 ? 0 : at, proposer: actorOf(north) };
  return statementOf(first, { register: hashOf(`object ${name}`), head: hashOf(`head ${name}`), ballot });
});

/** One of the statements above with the signatures of all of them. */
export function certifyInBatch(
  index: number,
  signers: readonly TestNode[],
  statements: readonly Statement[] = together,
): Certificate {
  const batch = batchOf(statements);
  return assembleCertificate(
    statements[index] as Statement,
    signers.map(({ nodeId, signer }) => [nodeId, signBatch(batch, signer, testCluster)]),
    batch.place(index),
  );
}

/** What is in a batch, and does not hold. */
function unprovenInBatch(): { why: string; certificate: Certificate }[] {
  const base = certifyInBatch(1, [north, east]);
  const { batch, ...alone } = base as Required<Certificate>;
  const other = certifyInBatch(1, [north, east], together.toReversed()) as Required<Certificate>;
  const [one = '', ...rest] = batch.path;
  const flipped = `${one.startsWith('a') ? 'b' : 'a'}${one.slice(1)}`;
  const single = certify(together[1] as Statement, [north, east]);
  const changed = (change: Partial<typeof batch>): Certificate => ({ ...base, batch: { ...batch, ...change } });
  return [
    { why: 'another index of the batch', certificate: changed({ index: 0 }) },
    { why: 'an index at the right edge of the batch', certificate: changed({ index: 4 }) },
    { why: 'another size of the batch, in which the path leads to the same root', certificate: changed({ size: 6 }) },
    { why: 'a smaller size of the batch', certificate: changed({ size: 2 }) },
    { why: 'the path of another batch', certificate: changed({ path: other.batch.path }) },
    { why: 'one character of the path changed', certificate: changed({ path: [flipped, ...rest] }) },
    { why: 'a path that is too short', certificate: changed({ path: rest }) },
    { why: 'a path that is too long', certificate: changed({ path: [one, ...batch.path] }) },
    { why: 'signatures under a batch without the place in it', certificate: alone },
    { why: 'signatures under the statement alone with a place in a batch', certificate: { ...single, batch } },
    {
      why: 'a signature under the batch beside one under the statement alone',
      certificate: {
        ...base,
        signatures: base.signatures.map((pair, at) => (at === 0 ? pair : (single.signatures[at] as typeof pair))),
      },
    },
    { why: 'another statement of the batch', certificate: { ...base, statement: together[2] as Statement } },
    { why: 'one signature of three coordinators under a batch', certificate: certifyInBatch(1, [north]) },
  ];
}

export function certificateVectors() {
  const accepted = [
    certify(statementOf(first), [north, east]),
    certify(statementOf(second, { epoch: 3, ballot: { counter: 9, proposer: actorOf(east) } }), nodes),
    certify(statementOf(first, { register: 'control-log' }), [south, north]),
    certify(statementOf(first, { ballot: { counter: 0, proposer: actorOf(north) } }), [north, south]),
    certifyInBatch(0, [north, east]),
    certifyInBatch(4, nodes),
    certifyInBatch(1, [east, south], together.slice(0, 2)),
  ];
  const base = accepted[0] as Certificate;
  const higher = certify(statementOf(first, { ballot: { counter: 2, proposer: actorOf(north) } }), [east]);
  const stranger = testNode('stranger');
  const signatures = (...pairs: readonly (readonly [NodeId, string])[]): Certificate['signatures'] =>
    [...pairs].sort(([a], [b]) => (a < b ? -1 : 1));
  const ofNorth = base.signatures.find(([nodeId]) => nodeId === north.nodeId) as [NodeId, string];
  return {
    about:
      'A certificate is canonical JSON; its signatures are ed25519 by the domain anabranch/confirmation/1/<cluster> over BLAKE3 of the canonical JSON of `statement`. With `batch` they are by the domain anabranch/confirmation-batch/1/<cluster> over BLAKE3 of the canonical JSON of {v: 1, root, size}: `root`, in base32, is what `index`, `size` and `path` lead to from that BLAKE3 as a leaf (RFC 6962, SHA-256). `link` is BLAKE3, in base32, of {v, cluster, register, position, head, previous}. It holds for `coordinators` when a majority of them signed and nobody else is named. `refused` cannot be read; `unproven` can be read and does not hold.',
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
      ...unprovenInBatch(),
    ].map(({ why, certificate }) => ({ why, text: encodeCertificate(certificate) })),
    refused: [...refusedTexts(base), ...refusedBatches()],
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
    changed('no ballot', '"counter":1', '"counter":-1'),
    changed('no proposer', actorOf(north), north.nodeId),
    changed('no register', register, 'control'),
    changed('no head', first.head, first.head.toUpperCase()),
  ];
}

function refusedBatches(): { why: string; text: string }[] {
  const base = certifyInBatch(1, [north, east]);
  const text = encodeCertificate(base);
  const batch = text.slice(0, text.indexOf(',"signatures"')).replace('{"batch":', '');
  const [one = ''] = base.batch?.path ?? [];
  const withBatch = (why: string, value: unknown): { why: string; text: string } => ({
    why,
    text: text.replace(batch, typeof value === 'string' ? value : JSON.stringify(value)),
  });
  const { index, path, size } = base.batch as NonNullable<Certificate['batch']>;
  return [
    withBatch('no batch', 'null'),
    withBatch('an unknown field of a batch', { extra: 1, index, path, size }),
    withBatch('a batch without a path', { index, size }),
    withBatch('a batch of one', { index: 0, path, size: 1 }),
    withBatch('a batch of 513', { index, path, size: 513 }),
    withBatch('a size that is no whole number', { index, path, size: 2.5 }),
    withBatch('an index outside the batch', { index: size, path, size }),
    withBatch('a negative index', { index: -1, path, size }),
    withBatch('an empty path', { index, path: [], size }),
    withBatch('a path of ten hashes', { index, path: Array.from({ length: 10 }, () => one), size }),
    withBatch('a path that is not of hashes', { index, path: [...path.slice(1), one.slice(1)], size }),
    withBatch('a batch whose fields are out of order', batch.replace(/^{"index":1,(.*)}$/, '{$1,"index":1}')),
  ];
}
