import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { type FaultScriptName, faultScripts } from './mutants/fault-scripts.ts';

const finders: Readonly<Record<FaultScriptName, string>> = {
  'write-on-as-before': 'unique-dots',
  'vote-on-when-restored': 'votes',
  'call-it-carried-over': 'control',
  'refuse-what-may-be-chosen': 'control',
};
const names = Object.keys(faultScripts) as FaultScriptName[];

/** What was violated when a script is played with the fault of its name. */
async function playWithFault(name: FaultScriptName): Promise<string> {
  const worker = fork(fileURLToPath(new URL('./mutants/script-worker.ts', import.meta.url)), {
    execArgv: ['--import', new URL('./mutants/load-fault.ts', import.meta.url).href],
    env: { ...process.env, ANABRANCH_SIM_FAULT: name },
  });
  const ended = once(worker, 'exit');
  worker.send(name);
  const answered = once(worker, 'message').then(([answer]) => String(answer));
  const found = await Promise.race([answered, ended.then(([code]) => `the process of the run ended with ${code}`)]);
  worker.kill();
  await ended;
  return found;
}

describe('the script of a deliberate fault', () => {
  it.each(names)('is played to its end by sound nodes: %s', (name) => faultScripts[name]());

  it.each(names)('finds the fault: %s', async (name) => {
    expect(await playWithFault(name)).toMatch(new RegExp(`^Violation: ${finders[name]}:`));
  });
});
