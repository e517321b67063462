import {
  assembleCertificate,
  batchOf,
  type Certificate,
  type Statement,
  signBatch,
  verifyCertificate,
} from '../../crdt/certificate.ts';
import { blake3, toBase32 } from '../../crdt/digest.ts';
import { actorOf, testCluster, testNode } from '../../test/support/versions.ts';

const forMs = 2_000;
const batches = 16;
const batchSize = 128;

const coordinators = ['north', 'east', 'south'].map(testNode);

/** How often a second one thread verifies what a proposer among three coordinators assembles: exactly a majority. */
export function verificationsPerSecond(): number {
  const certificates = Array.from({ length: batches }, (_, batch) => certificatesOf(batch)).flat();
  const context = {
    cluster: testCluster,
    coordinators: coordinators.map(({ nodeId, signer }) => ({ nodeId, publicKey: signer.publicKey })),
  };
  const startMs = performance.now();
  let verified = 0;
  while (performance.now() - startMs < forMs) {
    const certificate = certificates[verified % certificates.length] as Certificate;
    if (!verifyCertificate(certificate, context)) throw new Error('the certificate does not hold');
    verified += 1;
  }
  return verified / ((performance.now() - startMs) / 1_000);
}

/** As many registers were confirmed together: each has its own place under the same signatures. */
function certificatesOf(batch: number): Certificate[] {
  const statements = Array.from({ length: batchSize }, (_, at): Statement => {
    const register = toBase32(blake3(Buffer.from(`register ${batch} ${at}`)));
    const ballot = { counter: 1, proposer: actorOf(testNode('north')) };
    return { v: 1, register, epoch: 1, position: 1, head: register, previous: null, ballot };
  });
  const signed = batchOf(statements);
  const signatures = coordinators
    .slice(0, 2)
    .map(({ nodeId, signer }) => [nodeId, signBatch(signed, signer, testCluster)] as const);
  return statements.map((statement, at) => assembleCertificate(statement, signatures, signed.place(at)));
}
