import { expect, test } from 'vitest';
import {
  assembleCertificate,
  batchOf,
  type Certificate,
  type Statement,
  signBatch,
  signedDigestsOf,
  signStatement,
  verifyCertificate,
} from '../../../../crdt/certificate.ts';
import { blake3, toBase32 } from '../../../../crdt/digest.ts';
import type { SignedDigest } from '../../../../crdt/signature.ts';
import { InlineVerifier } from '../../../../src/adapters/memory/verifier.ts';
import { VerifiedSignatures } from '../../../../src/node/confirmation/verified-signatures.ts';
import type { Verifier } from '../../../../src/ports/verifier.ts';
import { actorOf, testCluster, testNode } from '../../../support/versions.ts';

const coordinators = ['north', 'east', 'south'].map(testNode);
const signers = coordinators.slice(0, 2);
const context = {
  cluster: testCluster,
  coordinators: coordinators.map(({ nodeId, signer }) => ({ nodeId, publicKey: signer.publicKey })),
};

/** Verifies for real, and counts how often it is asked to. */
class CountingVerifier implements Verifier {
  asked = 0;
  readonly #inner = new InlineVerifier();

  verify(signed: readonly SignedDigest[]): Promise<boolean[]> {
    this.asked += signed.length;
    return this.#inner.verify(signed);
  }
}

function statementOf(name: string): Statement {
  const register = toBase32(blake3(Buffer.from(name)));
  const ballot = { counter: 1, proposer: actorOf(testNode('north')) };
  return { v: 1, register, epoch: 1, position: 1, head: register, previous: null, ballot };
}

/** What a majority of three proves of so many registers that were confirmed together. */
function confirmedTogether(count: number, name = 'batch'): Certificate[] {
  const statements = Array.from({ length: count }, (_, at) => statementOf(`${name} ${at}`));
  const [alone] = statements;
  if (count === 1 && alone !== undefined) {
    return [
      assembleCertificate(
        alone,
        signers.map(({ nodeId, signer }) => [nodeId, signStatement(alone, signer, testCluster)]),
      ),
    ];
  }
  const batch = batchOf(statements);
  const signatures = signers.map(({ nodeId, signer }) => [nodeId, signBatch(batch, signer, testCluster)] as const);
  return statements.map((statement, at) => assembleCertificate(statement, signatures, batch.place(at)));
}

/** Which certificates hold, and how many signatures were verified to tell. */
async function judged(certificates: readonly Certificate[]): Promise<{ holds: boolean[]; verified: number }> {
  const verifier = new CountingVerifier();
  const signed = certificates.map((certificate) => signedDigestsOf(certificate, context));
  const holds = await new VerifiedSignatures(verifier).eachHold(signed.map((each) => each ?? []));
  return { holds: holds.map((each, at) => each && signed[at] !== undefined), verified: verifier.asked };
}

test('all certificates of one batch cost one verification a signer, and those of distinct batches each their own', async () => {
  const together = confirmedTogether(512);
  expect(await judged(together)).toEqual({ holds: together.map(() => true), verified: 2 });
  const apart = Array.from({ length: 64 }, (_, at) => confirmedTogether(8, `batch ${at}`)).flat();
  expect(await judged(apart)).toEqual({ holds: apart.map(() => true), verified: 2 * 64 });
  const alone = Array.from({ length: 64 }, (_, at) => confirmedTogether(1, `alone ${at}`)).flat();
  expect(await judged(alone)).toEqual({ holds: alone.map(() => true), verified: 2 * 64 });
  for (const certificate of [...together, ...apart, ...alone])
    expect(verifyCertificate(certificate, context)).toBe(true);
});

test('what was verified for others of its batch holds for no statement that is not in it', async () => {
  const [first, second, ...others] = confirmedTogether(16) as [Certificate, Certificate, ...Certificate[]];
  const [stranger] = confirmedTogether(16, 'another batch') as [Certificate];
  const forged: readonly Certificate[] = [
    // Another head at the place of one that is in the batch, the place of another, and the signatures of another batch.
    { ...first, statement: { ...first.statement, head: second.statement.head } },
    { ...first, ...(second.batch === undefined ? {} : { batch: second.batch }) },
    { ...first, signatures: stranger.signatures },
    { ...first, signatures: first.signatures.slice(1) },
  ];
  const { holds } = await judged([...others, ...forged, second]);
  expect(holds).toEqual([...others.map(() => true), ...forged.map(() => false), true]);
});
