import { SingleBar } from 'cli-progress';
import { formatBytes } from '../client/draw-graph.ts';
import type { CliIo } from './output.ts';

/** Counts up while something runs. */
export interface ProgressDisplay {
  update(done: number): void;
  end(): void;
}

/** What is counted. */
type Unit = 'files' | 'bytes' | 'registers' | 'contents' | 'percent';

const plainIntervalMs = 2_000;
const silent: ProgressDisplay = { update: () => undefined, end: () => undefined };

/** A bar on standard error when that is a terminal; nothing elsewhere. The total may be unknown. */
export function progressBar(
  io: CliIo,
  label: string,
  total: number | undefined,
  unit: Unit = 'bytes',
): ProgressDisplay {
  if (io.stderr.isTTY !== true) return silent;
  const format = total === undefined ? '{label} {done}' : '{label} {bar} {percentage}%  {done}';
  const bar = new SingleBar({
    stream: io.stderr,
    format,
    barCompleteChar: '█',
    barIncompleteChar: '░',
    barsize: 30,
    clearOnComplete: true,
    hideCursor: false,
  });
  bar.start(total ?? 1, 0, { label, done: count(0, total, unit) });
  return {
    update: (done) => bar.update(Math.min(done, total ?? 1), { done: count(done, total, unit) }),
    end: () => bar.stop(),
  };
}

/** The same on a terminal; elsewhere a line every now and then, so that a log shows that work goes on. */
export function progressLines(
  io: CliIo,
  write: (text: string) => void,
  label: string,
  total: number,
  unit: Unit,
): ProgressDisplay {
  if (io.stderr.isTTY === true) return progressBar(io, label, total, unit);
  let saidMs = performance.now();
  return {
    update(done) {
      if (performance.now() - saidMs < plainIntervalMs) return;
      saidMs = performance.now();
      write(`${label}: ${count(done, total, unit)}\n`);
    },
    end: () => undefined,
  };
}

function count(done: number, total: number | undefined, unit: Unit): string {
  const of = total === undefined ? '' : ` of ${unit === 'bytes' ? formatBytes(total) : total}`;
  return unit === 'bytes' ? `${formatBytes(done)}${of}` : `${done}${of} ${unit}`;
}
