import { expect, it } from 'vitest';
import { AmpleRoom } from '../../../src/ports/ample-room.ts';

const gibibyte = 2 ** 30;

it('is believed for a quarter of a second after plenty was seen, and for no moment after less', () => {
  let nowMs = 0;
  const ample = new AmpleRoom(() => nowMs);
  expect(ample.isThere).toBe(false);
  ample.saw(4 * gibibyte - 1);
  expect(ample.isThere).toBe(false);
  ample.saw(4 * gibibyte);
  expect(ample.isThere).toBe(true);
  nowMs = 249;
  expect(ample.isThere).toBe(true);
  nowMs = 250;
  expect(ample.isThere).toBe(false);
  ample.saw(4 * gibibyte);
  ample.saw(1);
  expect(ample.isThere).toBe(false);
});
