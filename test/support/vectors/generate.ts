import { writeFileSync } from 'node:fs';
import { type VectorName, vectorFile, vectorSources, vectorText } from './index.ts';

// Run by hand when a format changes on purpose: `node test/support/vectors/generate.ts`. Then read the difference.
for (const name of Object.keys(vectorSources) as VectorName[]) {
  writeFileSync(vectorFile(name), vectorText(name));
  console.log(`test/vectors/${name}.json`);
}
