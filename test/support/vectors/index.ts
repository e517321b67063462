import { readFileSync } from 'node:fs';
import { blobsVectors } from './blobs.ts';
import { canonicalJsonVectors } from './canonical-json.ts';
import { causalityVectors } from './causality.ts';
import { certificateVectors } from './certificate.ts';
import { confirmationVectors } from './confirmation.ts';
import { controlLogVectors } from './control-log.ts';
import { controlMessageVectors } from './control-messages.ts';
import { digestVectors } from './digest.ts';
import { genesisVectors } from './genesis.ts';
import { gossipVectors } from './gossip.ts';
import { membershipVectors } from './membership.ts';
import { merkleLogVectors } from './merkle-log.ts';
import { objectDocumentVectors } from './object-document.ts';
import { quorumMessageVectors } from './quorum-messages.ts';
import { replicaVectors } from './replicas.ts';
import { signatureVectors } from './signature.ts';
import { slotVectors } from './slots.ts';
import { syncVectors } from './sync.ts';
import { versionVectors } from './version.ts';
import { versionGraphVectors } from './version-graph.ts';
import { wireVectors } from './wire.ts';

/** What makes each file of `test/vectors` but those of chunks and manifests. */
export const vectorSources = {
  'canonical-json': canonicalJsonVectors,
  causality: causalityVectors,
  certificate: certificateVectors,
  confirmation: confirmationVectors,
  'control-log': controlLogVectors,
  digest: digestVectors,
  genesis: genesisVectors,
  membership: membershipVectors,
  'merkle-log': merkleLogVectors,
  'object-document': objectDocumentVectors,
  replicas: replicaVectors,
  signature: signatureVectors,
  slots: slotVectors,
  blobs: blobsVectors,
  'control-messages': controlMessageVectors,
  gossip: gossipVectors,
  'quorum-messages': quorumMessageVectors,
  sync: syncVectors,
  wire: wireVectors,
  version: versionVectors,
  'version-graph': versionGraphVectors,
} as const;

export type VectorName = keyof typeof vectorSources;

export function vectorFile(name: string): URL {
  return new URL(`../../vectors/${name}.json`, import.meta.url);
}

/** The vectors of a format as they stand in the repository. */
export function readVectors<Name extends VectorName>(name: Name): ReturnType<(typeof vectorSources)[Name]> {
  return JSON.parse(readFileSync(vectorFile(name), 'utf8'));
}

/** The text of a vector file: indented, so that a change of a format shows line by line. */
export function vectorText(name: VectorName): string {
  return `${JSON.stringify(vectorSources[name](), null, 2)}\n`;
}
