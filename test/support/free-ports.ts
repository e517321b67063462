import { chooseFreePorts, claimPorts, isPortFree } from '../../src/swarm/ports.ts';

const triesMax = 100;

/** The first of so many free ports that follow each other, as a swarm's do: one free port is not enough to know. */
export async function firstOfFreePorts(count: number): Promise<number> {
  for (let tries = 0; tries < triesMax; tries += 1) {
    const [first = 0] = await chooseFreePorts(1, []);
    const following = Array.from({ length: count - 1 }, (_, index) => first + 1 + index);
    if (claimPorts(following) && (await Promise.all(following.map(isPortFree))).every(Boolean)) return first;
  }
  throw new Error(`no ${count} free ports in a row`);
}
