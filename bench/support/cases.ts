/** One figure of a benchmark beside its reference, which was measured in the same run. */
export interface BenchCase {
  readonly bench: string;
  readonly case: string;
  readonly value: number;
  readonly unit: string;
  readonly reference: string | null;
  readonly referenceValue: number | null;
  readonly ratio: number | null;
  /** What the figure should reach, in words: `ratio >= 0.25`. */
  readonly target: string | null;
  readonly pass: boolean | null;
}

/** What a figure has to reach: at least or at most so much, itself or as a ratio to the reference. */
interface Target {
  readonly of: 'value' | 'ratio';
  readonly atLeast?: number;
  readonly atMost?: number;
}

export interface Measured {
  readonly bench: string;
  readonly case: string;
  readonly value: number;
  readonly unit: string;
  readonly reference?: { readonly name: string; readonly value: number };
  readonly target?: Target;
}

export function benchCase(measured: Measured): BenchCase {
  const { bench, value, unit, reference, target } = measured;
  const ratio = reference === undefined ? null : rounded(value / reference.value);
  const judged = target?.of === 'ratio' ? ratio : value;
  return {
    bench,
    case: measured.case,
    value: rounded(value),
    unit,
    reference: reference?.name ?? null,
    referenceValue: reference === undefined ? null : rounded(reference.value),
    ratio,
    target: target === undefined ? null : targetText(target),
    pass: target === undefined || judged === null ? null : reaches(judged, target),
  };
}

/** The middle of an odd number of figures, so that one disturbed round decides nothing. */
export function median(figures: readonly number[]): number {
  const sorted = [...figures].sort((left, right) => left - right);
  const middle = sorted[sorted.length >> 1];
  if (middle === undefined) throw new Error('a median of no figures');
  return middle;
}

export function table(cases: readonly BenchCase[]): string {
  const rows = cases.map((row) => [
    `${row.bench}: ${row.case}`,
    `${row.value} ${row.unit}`,
    row.reference === null ? '' : `${row.referenceValue} ${row.unit} (${row.reference})`,
    row.ratio === null ? '' : String(row.ratio),
    row.target ?? '',
    row.pass === null ? '' : row.pass ? 'reached' : 'MISSED',
  ]);
  const all = [['case', 'measured', 'reference', 'ratio', 'target', ''], ...rows];
  const widths = all[0]?.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0))) ?? [];
  return all
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

function targetText({ of, atLeast, atMost }: Target): string {
  return atLeast === undefined ? `${of} <= ${atMost}` : `${of} >= ${atLeast}`;
}

function reaches(figure: number, { atLeast, atMost }: Target): boolean {
  return (atLeast === undefined || figure >= atLeast) && (atMost === undefined || figure <= atMost);
}

function rounded(value: number): number {
  return Number(value.toPrecision(4));
}
