/**
 * A member's capacity is a coarse step: a whole number from 1 to 64, two of which double it. Step 1 is some 1.4 GiB,
 * step 64 is 4 EiB. What is said in steps changes seldom, and every change of a weight moves content.
 */

/** The greatest step: 2^32 units. */
export const capacityStepMax = 64;
/** What a member whose capacity nobody said is counted as: 1 TiB. */
export const capacityStepDefault = 20;

/** One unit of weight, in bytes: 1 GiB. */
const unitBytes = 1_073_741_824;

/** Undefined when the value is a step; otherwise a sentence that says why not. */
export function checkCapacity(value: unknown): string | undefined {
  if (Number.isInteger(value) && (value as number) >= 1 && (value as number) <= capacityStepMax) return undefined;
  return `the capacity is not a whole number from 1 to ${capacityStepMax}`;
}

/**
 * The weight of a step in units of 1 GiB: 2^(step / 2). By exact doubling and one rounded product, never by the
 * platform's power function, so that every node has the same bits.
 */
export function weightOfStep(step: number): number {
  let weight = step % 2 === 0 ? 1 : Math.SQRT2;
  for (let doubled = 1; doubled <= Math.floor(step / 2); doubled += 1) weight *= 2;
  return weight;
}

/** The step that is nearest to a capacity in bytes, within 1 to 64: for who states it, since no node agrees on its bits. */
export function stepOfBytes(bytes: number): number {
  const step = Math.round(2 * Math.log2(Math.max(1, bytes) / unitBytes));
  return Math.min(capacityStepMax, Math.max(1, step));
}
