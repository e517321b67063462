import { beginRun, endRun } from './composite-signals.ts';
import { forgetSignatures, rememberSignatures } from './known-signatures.ts';
import { prepare, type RunOptions } from './scenarios.ts';

/** What came of one run. */
export interface RunReport {
  readonly seed: number;
  readonly traceHash: string;
  readonly events: number;
  readonly virtualMs: number;
  readonly faults: Readonly<Record<string, number>>;
  readonly acknowledged: number;
  readonly versions: number;
  readonly conflicts: number;
  readonly failure?: { readonly message: string; readonly tail: readonly string[] };
}

/** Plays one seed of a scenario from start to end. Never rejects: whatever goes wrong is the report's failure. */
export async function runSeed(options: RunOptions): Promise<RunReport> {
  beginRun();
  rememberSignatures();
  try {
    return await playSeed(options);
  } finally {
    endRun();
    forgetSignatures();
  }
}

async function playSeed(options: RunOptions): Promise<RunReport> {
  const { sim, play } = prepare(options);
  // A promise nobody looks at is a bug of the node as much as a wrong answer.
  const onRejection = (reason: unknown): void =>
    sim.violate('unhandled', reason instanceof Error ? (reason.stack ?? reason.message) : String(reason));
  process.on('unhandledRejection', onRejection);
  let failure: RunReport['failure'];
  let acknowledged = 0;
  try {
    acknowledged = (await play()).acknowledged;
  } catch (error) {
    const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
    failure = { message, tail: sim.trace.tail() };
  } finally {
    process.off('unhandledRejection', onRejection);
  }
  return {
    seed: options.seed,
    traceHash: sim.trace.hash(),
    events: sim.trace.events,
    virtualMs: sim.clock.monotonicMs(),
    faults: Object.fromEntries(sim.countedFaults()),
    acknowledged: failure === undefined ? acknowledged : sim.ledger.acknowledged.size,
    versions: sim.library.size,
    conflicts: sim.conflictsRaised,
    ...(failure === undefined ? {} : { failure }),
  };
}
