import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CliProcess } from '../../test/support/cli-process.ts';
import { firstOfFreePorts } from '../../test/support/free-ports.ts';
import { type BenchCase, benchCase, median } from '../support/cases.ts';

const nodes = 5;
const rounds = 3;
const tourSecondsMax = 60;
/** A swarm that has not come to its end by then is asked to stop, and made to a while later. */
const patienceMs = 240_000;
const stopMsMax = 30_000;

/** Seconds from the command until these. */
interface TourTimes {
  readonly up: number;
  readonly held: number;
  readonly ended: number;
}

/** How long a newcomer waits: the whole of `swarm --exit`, in a new folder and again in the same. */
export async function benchTour(say: (text: string) => void): Promise<BenchCase[]> {
  const first: TourTimes[] = [];
  const again: TourTimes[] = [];
  for (let round = 1; round <= rounds; round += 1) {
    const folder = await mkdtemp(join(tmpdir(), 'anabranch-bench-tour-'));
    try {
      for (const [what, times] of [
        ['a new swarm', first],
        ['the same again', again],
      ] as const) {
        const tour = await playTour(join(folder, 'swarm'));
        times.push(tour);
        say(`round ${round} of ${rounds}, ${what}: up after ${text(tour.up)}, all held after ${text(tour.held)}`);
      }
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }
  const of = (times: readonly TourTimes[], name: string, until: keyof TourTimes) => ({
    bench: 'tour',
    case: `${nodes} nodes, ${name}`,
    value: median(times.map((each) => each[until])),
    unit: 's',
  });
  const target = { of: 'value', atMost: tourSecondsMax } as const;
  return [
    benchCase({ ...of(first, 'a new swarm: from the command until all are up', 'up') }),
    benchCase({ ...of(first, 'a new swarm: until every step held', 'held'), target }),
    benchCase({ ...of(first, 'a new swarm: until all have stopped', 'ended') }),
    benchCase({ ...of(again, 'a second tour in its folder: until every step held', 'held'), target }),
  ];
}

/** Rejects with what the swarm said when a step did not hold, or it did not end in time. */
async function playTour(dir: string): Promise<TourTimes> {
  const port = await firstOfFreePorts(nodes);
  const startMs = performance.now();
  const seconds = (): number => (performance.now() - startMs) / 1_000;
  const swarm = new CliProcess(['swarm', '--exit', '--nodes', `${nodes}`, '--dir', dir, '--http-port', `${port}`]);
  // Whoever is killed takes the nodes along: they end when their supervisor is gone.
  const timers = [
    setTimeout(() => swarm.child.kill('SIGINT'), patienceMs),
    setTimeout(() => swarm.child.kill('SIGKILL'), patienceMs + stopMsMax),
  ];
  try {
    await swarm.until(/nodes are up after/);
    const up = seconds();
    await swarm.until(/Every step held/);
    const held = seconds();
    const { exitCode, stdout, stderr } = await swarm.result;
    if (exitCode !== 0) throw new Error(`the swarm ended with exit code ${exitCode}:\n${stdout}\n${stderr}`);
    return { up, held, ended: seconds() };
  } finally {
    await swarm.end('SIGINT');
    for (const timer of timers) clearTimeout(timer);
  }
}

function text(seconds: number): string {
  return `${seconds.toFixed(1)} s`;
}
