import { globSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

/** `npm run example -- NAME`: runs `examples/NAME.ts`. */
const names = globSync('examples/*.ts').map((file) => path.basename(file, '.ts'));
const [name = ''] = process.argv.slice(2);
if (names.includes(name)) {
  await import(pathToFileURL(`examples/${name}.ts`).href);
} else {
  console.error(`usage: npm run example -- ${names.sort().join('|')}`);
  process.exitCode = 2;
}
