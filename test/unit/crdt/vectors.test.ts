import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { type VectorName, vectorFile, vectorSources, vectorText } from '../../support/vectors/index.ts';

// When a format changes on purpose: `node test/support/vectors/generate.ts`, and read the difference.
describe.each(Object.keys(vectorSources) as VectorName[])('test/vectors/%s.json', (name) => {
  test('is, byte for byte, what the code makes of the vectors today', () => {
    expect(readFileSync(vectorFile(name), 'utf8')).toBe(vectorText(name));
  });
});
