/** How a command of this program is typed here, as in `nodes list`, so that what is advised can be copied. */
export type CommandText = (words: string) => string;

/** npm names the script that it runs: in a checkout that script is the only way to call the program. */
export function commandTextOf(env: Readonly<Record<string, string | undefined>>): CommandText {
  const program = env.npm_lifecycle_event === 'anabranch' ? 'npm run -s anabranch --' : 'anabranch';
  return (words) => `${program} ${words}`;
}
