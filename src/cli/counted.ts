/** A number and what it counts, as in "1 object" and "2 objects". The plural has an "s" more when none is given. */
export function counted(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}
