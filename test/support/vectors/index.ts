import { readFileSync } from 'node:fs';
import { canonicalJsonVectors } from './canonical-json.ts';
import { causalityVectors } from './causality.ts';
import { confirmationVectors } from './confirmation.ts';
import { controlLogVectors } from './control-log.ts';
import { digestVectors } from './digest.ts';
import { genesisVectors } from './genesis.ts';
import { membershipVectors } from './membership.ts';
import { merkleLogVectors } from './merkle-log.ts';
import { objectDocumentVectors } from './object-document.ts';
import { replicaVectors } from './replicas.ts';
import { signatureVectors } from './signature.ts';
import { slotVectors } from './slots.ts';
import { versionVectors } from './version.ts';
import { versionGraphVectors } from './version-graph.ts';

/** What makes each file of `test/vectors` that describes the core. */
export const vectorSources = {
  'canonical-json': canonicalJsonVectors,
  causality: causalityVectors,
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
