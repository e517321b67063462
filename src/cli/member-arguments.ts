import { capacityStepMax, stepOfBytes } from '../../crdt/control/capacity.ts';
import { parsePairs } from './change-options.ts';
import { UsageError } from './errors.ts';
import { parseSize, sizeForm } from './size.ts';

/** How labels and capacities of members are given. */

export const labelForm = 'labels are given as name=value';
export const capacityForm = `a capacity is a step from 1 to ${capacityStepMax}, or a size ${sizeForm}`;

/** A step as it is, or the one that is nearest to a size. */
export function parseCapacity(text: string): number {
  if (/^[1-9]\d?$/.test(text) && Number(text) <= capacityStepMax) return Number(text);
  const bytes = parseSize(text);
  if (bytes === undefined) throw new UsageError(capacityForm);
  return stepOfBytes(bytes);
}

export function labelsOf(texts: readonly string[]): Record<string, string> {
  const labels = parsePairs(texts);
  if (labels === undefined) throw new UsageError(labelForm);
  return labels;
}
