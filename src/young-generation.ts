const boundFlag = '--max-semi-space-size';
/**
 * What V8 does with new objects; it reads this when it starts, not later. Two semi-spaces of 16 MiB bound what they take: left
 * alone, the young generation of Node.js 24 grows to 128 MiB, and the longer it takes to fill, the more buffers wait that are
 * garbage. The thread that made them collects them itself, in a few milliseconds: where there are more threads to run than
 * processors, it would wait for its helpers to be given one, and hold the event loop for 50.
 */
export const youngGenerationFlags: readonly string[] = [`${boundFlag}=16`, '--no-parallel-scavenge'];

/** How a process was started. */
export type Started = Pick<NodeJS.Process, 'argv' | 'execArgv' | 'execPath' | 'env' | 'platform' | 'send'>;

/**
 * The command line that starts the same program with a bounded young generation; undefined where it has a bound already,
 * whichever, and where it cannot be replaced: on Windows, and with a channel to the process that started it.
 */
export function boundedCommand(started: Started): readonly [string, ...string[]] | undefined {
  const { argv, execArgv, execPath, env, platform, send } = started;
  const options = [...execArgv, ...(env.NODE_OPTIONS ?? '').split(' ')];
  const isBounded = options.some((option) => option.replaceAll('_', '-').startsWith(boundFlag));
  if (isBounded || platform === 'win32' || send !== undefined) return undefined;
  return [execPath, ...youngGenerationFlags, ...execArgv, ...argv.slice(1)];
}
