import { playSweep } from './sweeping.ts';

/** Plays the seeds that the parent process names, one after the other, and answers with what was violated, if anything. */
process.on('message', (seed: number) => {
  playSweep(seed).then(
    () => process.send?.(''),
    (error: unknown) => process.send?.(String(error)),
  );
});
