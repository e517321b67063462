/** How many of the indexes below `length` come first, for which `isBefore` holds; it holds for none after one for which it does not. */
export function partitionPoint(length: number, isBefore: (index: number) => boolean): number {
  let low = 0;
  let high = length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (isBefore(middle)) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The place of a text among sorted ones: of the first that is not less. */
export function placeOfText(sorted: readonly string[], text: string): number {
  return partitionPoint(sorted.length, (index) => (sorted[index] as string) < text);
}
