import { assembleCertificate, type Statement, signStatement, verifyCertificate } from '../../crdt/certificate.ts';
import { blake3, toBase32 } from '../../crdt/digest.ts';
import { actorOf, testCluster, testNode } from '../../test/support/versions.ts';

const forMs = 2_000;

/** How often a second one thread verifies what a proposer among three coordinators assembles: exactly a majority. */
export function verificationsPerSecond(): number {
  const coordinators = ['north', 'east', 'south'].map(testNode);
  const head = toBase32(blake3(Buffer.from('head')));
  const statement: Statement = {
    v: 1,
    register: toBase32(blake3(Buffer.from('register'))),
    epoch: 1,
    position: 1,
    head,
    previous: null,
    ballot: { counter: 1, proposer: actorOf(testNode('north')) },
  };
  const certificate = assembleCertificate(
    statement,
    coordinators.slice(0, 2).map(({ nodeId, signer }) => [nodeId, signStatement(statement, signer, testCluster)]),
  );
  const context = {
    cluster: testCluster,
    coordinators: coordinators.map(({ nodeId, signer }) => ({ nodeId, publicKey: signer.publicKey })),
  };
  const startMs = performance.now();
  let verified = 0;
  while (performance.now() - startMs < forMs) {
    if (!verifyCertificate(certificate, context)) throw new Error('the certificate does not hold');
    verified += 1;
  }
  return verified / ((performance.now() - startMs) / 1_000);
}
