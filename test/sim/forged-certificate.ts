import { type Certificate, encodeCertificate, type Statement, signStatement } from '../../crdt/certificate.ts';
import { blobHashOf } from '../../crdt/digest.ts';
import type { Actor, ClusterId, NodeId } from '../../crdt/ids.ts';
import { type Signer, toBase64Url } from '../../crdt/signature.ts';
import type { Draw } from './draw.ts';
import type { KnownVersion } from './version-library.ts';

/** A certificate for a version, in the name of nodes whose keys its author does not have. */
export function forgedCertificate(
  draw: Draw,
  { version, doc }: KnownVersion,
  by: { readonly cluster: ClusterId; readonly signer: Signer; readonly named: readonly NodeId[] },
): string {
  const position = draw.integer(1, 3);
  const statement: Statement = {
    v: 1,
    register: doc,
    epoch: draw.pick([1, 1, 2]),
    position,
    head: version.id,
    previous: position === 1 ? null : blobHashOf(draw.random.bytes(8)),
    ballot: { counter: draw.integer(1, 1_000), proposer: `${by.named[0]}.${'a'.repeat(13)}` as Actor },
  };
  const signature = toBase64Url(signStatement(statement, by.signer, by.cluster));
  const signatures: Certificate['signatures'] = [...by.named].sort().map((node) => [node, signature]);
  return encodeCertificate({ statement, signatures });
}
