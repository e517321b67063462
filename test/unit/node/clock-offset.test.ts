import { describe, expect, it } from 'vitest';
import { clockOffsetMs } from '../../../src/node/clock-offset.ts';

describe("a clock's offset", () => {
  it('is unknown without a sample', () => {
    expect(clockOffsetMs([])).toBeUndefined();
  });

  it('is what the other clock said against the middle of the round trip', () => {
    expect(clockOffsetMs([{ sentMs: 1_000, peerMs: 4_610_010, receivedMs: 1_020 }])).toBe(4_609_000);
    expect(clockOffsetMs([{ sentMs: 1_000, peerMs: 510, receivedMs: 1_020 }])).toBe(-500);
  });

  it('comes from the shortest round trip', () => {
    const slow = { sentMs: 0, peerMs: 900, receivedMs: 1_000 };
    const fast = { sentMs: 5_000, peerMs: 5_101, receivedMs: 5_002 };
    expect(clockOffsetMs([slow, fast, slow])).toBe(100);
  });

  it('is not taken from a trip during which this clock was set back, nor from one that took too long', () => {
    expect(clockOffsetMs([{ sentMs: 5_000, peerMs: 5_000, receivedMs: 4_000 }])).toBeUndefined();
    expect(clockOffsetMs([{ sentMs: 0, peerMs: 5_000, receivedMs: 10_000 }])).toBeUndefined();
  });
});
