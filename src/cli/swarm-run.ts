import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { AnabranchClient } from '../client/http-client.ts';
import { projectRoot } from '../project-root.ts';
import { Supervisor } from '../swarm/supervisor.ts';
import type { SwarmNode } from '../swarm/swarm-directory.ts';
import { createNarrator } from '../swarm/tour/narrator.ts';
import { playTour, type TourResult } from '../swarm/tour/play-tour.ts';
import type { Narrator, TourNode } from '../swarm/tour/tour-types.ts';
import type { Cli } from './cli.ts';
import { swarmDirectoryDefault } from './connection.ts';
import { counted } from './counted.ts';
import { exitCodes } from './errors.ts';
import { printable } from './output.ts';
import { progressLines } from './progress.ts';

/** Well past any timer that matters: the wait ends with the signal. */
const foreverMs = 2 ** 31 - 1;

/** How long the end of a process may take to be noticed. */
const exitNoticeMs = 500;

const repairDelayMs = 5_000;
const heartbeatMs = 500;

export interface SwarmFlags {
  readonly dir?: string;
  readonly nodes?: number;
  readonly httpPort?: number;
  /** Milliseconds. */
  readonly repairDelay?: number;
  readonly heartbeatEvery?: number;
  readonly exit?: boolean;
  readonly tour?: boolean;
  readonly json?: boolean;
}

/** Starts a swarm, plays the tour, and stays until a signal; with `--exit` it ends with the tour. */
export async function runSwarm(cli: Cli, dir: string, flags: SwarmFlags): Promise<void> {
  const stop = cli.interrupts();
  const tell = (text: string): void => void (flags.json === true ? cli.io.stderr : cli.io.stdout).write(text);
  const narrator = narratorOf(cli, tell);
  const supervisor = new Supervisor(
    { notify: (message) => tell(`${cli.output.style('yellow', '!')} ${message}\n`) },
    { dir, nodes: flags.nodes, httpPort: flags.httpPort, serveOptions: serveOptionsOf(flags) },
  );
  // A signal during the start has to end it; the nodes that are up already stop as well.
  stop.addEventListener('abort', () => void supervisor.close().catch(() => undefined), { once: true });
  try {
    tell(`Starting a swarm in ${printable(dir)} …\n`);
    const startedMs = performance.now();
    const { created } = await supervisor.start();
    const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
    const what = created ? 'a new swarm' : 'the swarm that was there, with its data';
    tell(`${counted(supervisor.nodes.length, 'node is', 'nodes are')} up after ${seconds} s: ${what}.\n\n`);
    const tour = flags.tour === false ? undefined : await tourOf(supervisor, narrator, stop);
    if (tour?.held === false) {
      cli.exitCode = exitCodes.failed;
      // Of a node that has ended, which may be why, the supervisor hears after whoever was connected to it.
      await sleep(exitNoticeMs, undefined, { signal: stop });
    }
    if (flags.json === true) await cli.output.json({ nodes: describe(supervisor), tour: tour ?? null });
    if (flags.exit === true) return;
    for (const line of howToTalk(supervisor.nodes, dir, tour)) tell(`${line}\n`);
    await sleep(foreverMs, undefined, { signal: stop }).catch(() => undefined);
  } catch (error) {
    stop.throwIfAborted();
    throw error;
  } finally {
    // Nothing runs when the start was refused, and then there is nothing to say.
    const anyRunning = supervisor.status().nodes.some(({ pid }) => pid !== null);
    if (anyRunning) tell('\nStopping the nodes …\n');
    await supervisor.close();
    if (anyRunning) tell(`All stopped. What they hold stays in ${printable(dir)}.\n`);
  }
}

/** On one computer a node that is gone is gone, and nobody wants to wait for long to see what comes of it. */
function serveOptionsOf({ repairDelay = repairDelayMs, heartbeatEvery = heartbeatMs }: SwarmFlags): string[] {
  return ['--repair-delay', `${repairDelay / 1_000}s`, '--heartbeat-every', `${heartbeatEvery / 1_000}s`];
}

function narratorOf(cli: Cli, write: (text: string) => void): Narrator {
  return createNarrator({
    write,
    style: (name, text) => cli.output.style(name, text),
    progress: (label, total, unit) => progressLines(cli.io, write, label, total, unit),
  });
}

async function tourOf(supervisor: Supervisor, narrator: Narrator, signal: AbortSignal): Promise<TourResult> {
  const [first, ...others] = supervisor.nodes.map(
    ({ name, url, token }): TourNode => ({ name, client: new AnabranchClient({ url, token }) }),
  );
  if (first === undefined) throw new Error('a swarm has at least one node');
  const nodes = [first, ...others] as const;
  narrator.say(
    'Anabranch keeps versions of files on several computers that may lose sight of each other. Every one of them can ' +
      'write at any time; when they meet again, nothing is overwritten. This tour shows it, and checks what it says.',
  );
  try {
    return await playTour({ control: supervisor, narrator }, { nodes, projectRoot: projectRoot(), signal });
  } finally {
    for (const { client } of nodes) client.close();
  }
}

function describe(supervisor: Supervisor): unknown[] {
  const pids = new Map(supervisor.status().nodes.map(({ name, pid }) => [name, pid]));
  return supervisor.nodes.map(({ name, url, tokenFile, dir, peerId }) => {
    return { name, url, tokenFile, dir, pid: pids.get(name) ?? null, peerId };
  });
}

function howToTalk(nodes: readonly SwarmNode[], dir: string, tour: TourResult | undefined): string[] {
  const cli = 'npm run -s anabranch --';
  // Commands find the swarm in the current folder by themselves.
  const at = dir === resolve(swarmDirectoryDefault) ? '' : ` --dir ${shellWord(dir)}`;
  const object = tour === undefined ? 'notes/hello.txt' : `${tour.objects}plan.txt`;
  const [first] = nodes;
  const groups = nodes.length < 2 ? [] : [nodes.slice(0, nodes.length >> 1), nodes.slice(nodes.length >> 1)];
  const cut = groups.map((group) => group.map(({ name }) => name).join(',')).join(' ');
  return [
    '',
    'The nodes stay up until you press Ctrl-C:',
    ...nodes.map(({ name, url, tokenFile }) => `  ${name}  ${url}  token in ${tokenFile}`),
    '',
    'Talk to them from another terminal, in the same folder:',
    `  ${cli} put notes/hello.txt README.md${at}`,
    `  ${cli} log ${object}${at}`,
    `  ${cli} replicas ${object}${at}`,
    `  ${cli} status --dir ${shellWord(nodes.at(-1)?.dir ?? dir)}`,
    ...(cut === '' ? [] : [`  ${cli} swarm partition ${cut}${at}`, `  ${cli} swarm heal${at}`]),
    `  curl -H "Authorization: Bearer $(cat ${shellWord(first?.tokenFile ?? '')})" ${first?.url}/v1/status`,
  ];
}

/** As a shell takes it for one word. */
function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
