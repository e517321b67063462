import { type ChildProcess, fork } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import type { SourceFaultName } from './mutants/source-faults.ts';
import type { RunReport } from './run-seed.ts';
import type { RunRequest } from './worker.ts';

/** A run takes a second, a large one minutes; one that takes this long hangs. */
const runMsMax = 900_000;
/**
 * Nearly all that a run allocates is gone at once; with a nursery that is large, and is so from the start, it costs a fifth
 * less. In MiB, by size of mesh.
 */
const youngSpace = { usual: 64, large: 256 };
const largeMeshNodes = 20;

export interface SweepOptions {
  /** Processes; as many as there are cores when absent. */
  readonly workers?: number;
  /** Is told of each run as it ends, in no particular order. */
  readonly onReport?: (report: RunReport, request: RunRequest) => void;
  /** No further run is begun once one has failed. */
  readonly stopAtFailure?: boolean;
  /** A deliberate fault in a module of production code, for the tests that show it is found. */
  readonly sourceFault?: SourceFaultName;
}

/** Plays many runs, spread over processes. Resolves with their reports in the order of the requests. */
export async function sweep(requests: readonly RunRequest[], options: SweepOptions = {}): Promise<RunReport[]> {
  const reports: RunReport[] = [];
  const isLarge = requests.some(({ nodes }) => nodes >= largeMeshNodes);
  const nodeFlags = ['min', 'max'].map(
    (bound) => `--${bound}-semi-space-size=${isLarge ? youngSpace.large : youngSpace.usual}`,
  );
  const queue = [...requests.entries()];
  const work = async (): Promise<void> => {
    let child: ChildProcess | undefined;
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      const [index, request] = next;
      child ??= startWorker(nodeFlags, options.sourceFault);
      const report = await playIn(child, request);
      if (child.exitCode !== null || child.killed) child = undefined;
      reports[index] = report;
      options.onReport?.(report, request);
      if (report.failure !== undefined && options.stopAtFailure) queue.length = 0;
    }
    child?.kill();
  };
  const workers = Math.min(options.workers ?? availableParallelism(), requests.length);
  await Promise.all(Array.from({ length: workers }, work));
  return reports.filter((report) => report !== undefined);
}

function startWorker(nodeFlags: readonly string[], sourceFault: SourceFaultName | undefined): ChildProcess {
  const worker = fileURLToPath(new URL('./worker.ts', import.meta.url));
  if (sourceFault === undefined) return fork(worker, { execArgv: [...nodeFlags] });
  const loader = new URL('./mutants/load-fault.ts', import.meta.url).href;
  return fork(worker, {
    execArgv: [...nodeFlags, '--import', loader],
    env: { ...process.env, ANABRANCH_SIM_FAULT: sourceFault },
  });
}

function playIn(child: ChildProcess, request: RunRequest): Promise<RunReport> {
  return new Promise((resolve) => {
    const finish = (report: RunReport): void => {
      clearTimeout(limit);
      child.removeAllListeners();
      resolve(report);
    };
    const limit = setTimeout(() => {
      child.kill('SIGKILL');
      finish(lost(request, `the run did not end within ${runMsMax / 1_000} s`));
    }, runMsMax);
    child.once('message', (report) => finish(report as RunReport));
    child.once('error', (error) => finish(lost(request, error.message)));
    child.once('exit', (code, signal) => finish(lost(request, `the process of the run ended with ${signal ?? code}`)));
    child.send(request);
  });
}

function lost({ seed }: RunRequest, message: string): RunReport {
  const nothing = { traceHash: '', events: 0, virtualMs: 0, faults: {}, acknowledged: 0, versions: 0, conflicts: 0 };
  return { seed, ...nothing, failure: { message, tail: [] } };
}
