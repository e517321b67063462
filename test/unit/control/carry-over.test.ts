import { expect, test } from 'vitest';
import { shareUpTo } from '../../../src/control/carry-over.ts';
import { registerOf } from '../../support/quorum-mesh.ts';

test('a place in the order of names says which share of them comes before it', () => {
  const names = Array.from({ length: 4_000 }, (_, at) => registerOf(`register ${at}`)).sort();
  let before = 0;
  for (const [at, name] of names.entries()) {
    const share = shareUpTo(name);
    expect(share).toBeGreaterThanOrEqual(before);
    expect(Math.abs(share - at / names.length)).toBeLessThan(0.03);
    before = share;
  }
  expect(before).toBeLessThan(1);
  expect(shareUpTo(null)).toBe(0);
});
