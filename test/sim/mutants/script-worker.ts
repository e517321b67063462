import { type FaultScriptName, faultScripts } from './fault-scripts.ts';

/** Plays the script that the parent process names, and answers with what was violated, if anything. */
process.on('message', (name: FaultScriptName) => {
  faultScripts[name]().then(
    () => process.send?.(''),
    (error: unknown) => process.send?.(String(error)),
  );
});
