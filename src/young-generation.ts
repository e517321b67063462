const flagName = '--max-semi-space-size';
/**
 * Bounds what V8 spends on new objects: two semi-spaces of 16 MiB. Left alone, the young generation of Node.js 24 grows to
 * 128 MiB, and the longer it takes to fill, the more buffers wait that are garbage. V8 reads this when it starts, not later.
 */
export const youngGenerationFlag = `${flagName}=16`;

/** How a process was started. */
export type Started = Pick<NodeJS.Process, 'argv' | 'execArgv' | 'execPath' | 'env' | 'platform' | 'send'>;

/**
 * The command line that starts the same program with a bounded young generation; undefined where it has a bound already,
 * whichever, and where it cannot be replaced: on Windows, and with a channel to the process that started it.
 */
export function boundedCommand(started: Started): readonly [string, ...string[]] | undefined {
  const { argv, execArgv, execPath, env, platform, send } = started;
  const options = [...execArgv, ...(env.NODE_OPTIONS ?? '').split(' ')];
  const isBounded = options.some((option) => option.replaceAll('_', '-').startsWith(flagName));
  if (isBounded || platform === 'win32' || send !== undefined) return undefined;
  return [execPath, youngGenerationFlag, ...execArgv, ...argv.slice(1)];
}
