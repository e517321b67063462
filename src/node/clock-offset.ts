/** One question to another clock: when it was asked and answered by this one, and what the other one said. */
export interface TimeSample {
  readonly sentMs: number;
  readonly peerMs: number;
  readonly receivedMs: number;
}

/** Samples kept of one clock; older ones are forgotten, so a clock that was set right is believed soon. */
export const timeSamplesMax = 8;
/** An answer that took longer tells nothing: the offset is uncertain by half of it. */
const roundTripMsMax = 2_000;

/**
 * How far a clock is ahead of this one, in milliseconds, from the sample with the shortest round trip (Cristian,
 * "Probabilistic Clock Synchronization", 1989); wrong by at most half of that trip. Undefined when no sample is of
 * use, as when this clock was set back meanwhile.
 */
export function clockOffsetMs(samples: readonly TimeSample[]): number | undefined {
  let best: TimeSample | undefined;
  for (const sample of samples) {
    const roundTripMs = sample.receivedMs - sample.sentMs;
    if (roundTripMs < 0 || roundTripMs > roundTripMsMax) continue;
    if (best === undefined || roundTripMs < best.receivedMs - best.sentMs) best = sample;
  }
  return best === undefined ? undefined : best.peerMs - (best.sentMs + best.receivedMs) / 2;
}
