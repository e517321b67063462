import { type RunReport, runSeed } from './run-seed.ts';
import type { RunOptions } from './scenarios.ts';

/** A run to play, as the parent process asks for it. */
export type RunRequest = Pick<RunOptions, 'scenario' | 'seed' | 'nodes' | 'operations' | 'fault'>;

/** Plays the runs that the parent process names, one after the other. */
process.on('message', (request: RunRequest) => {
  void runSeed(request).then((report: RunReport) => process.send?.(report));
});

// Nobody is there any more who could be told.
process.on('disconnect', () => process.exit());
