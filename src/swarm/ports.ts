import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';

/** Everything of a development swarm stays on this machine. */
export const swarmHost = '127.0.0.1';
/** Below the range that Linux and macOS take outgoing ports from, so that a kept port is still free at the next start. */
const firstPort = 20_000;
const lastPort = 31_999;
const triesMax = 1_000;
/** Each process draws from one of so many parts of the range as long as it can: a port that is drawn is not listened on yet. */
const partsOfRange = 100;
const portsOfPart = Math.floor((lastPort + 1 - firstPort) / partsOfRange);

/** What this process has drawn: nobody may listen there yet, and it is not drawn again. */
const drawn = new Set<number>();

/** Has ports that were found in another way not drawn by this process any more; false, and nothing else, when one was drawn before. */
export function claimPorts(ports: readonly number[]): boolean {
  if (ports.some((port) => drawn.has(port))) return false;
  for (const port of ports) drawn.add(port);
  return true;
}

export async function isPortFree(port: number): Promise<boolean> {
  const server = createServer();
  try {
    server.listen({ port, host: swarmHost, exclusive: true });
    await once(server, 'listening');
    return true;
  } catch {
    return false;
  } finally {
    if (server.listening) {
      server.close();
      await once(server, 'close');
    }
  }
}

/**
 * Draws `count` different ports that nobody listens on now, other than `taken`, and that this process has not drawn before. Two
 * processes that draw at the same time hardly ever draw the same.
 */
export async function chooseFreePorts(count: number, taken: readonly number[]): Promise<number[]> {
  const chosen = new Set<number>();
  const firstOfPart = firstPort + (process.pid % partsOfRange) * portsOfPart;
  for (let tries = 0; chosen.size < count && tries < triesMax; tries += 1) {
    const isOwnPart = tries < triesMax / 2;
    const port = isOwnPart ? randomInt(firstOfPart, firstOfPart + portsOfPart) : randomInt(firstPort, lastPort + 1);
    if (taken.includes(port) || drawn.has(port)) continue;
    // Before it is looked at: another draw may come to the same meanwhile.
    drawn.add(port);
    if (await isPortFree(port)) chosen.add(port);
  }
  if (chosen.size < count) throw new Error(`no ${count} free ports between ${firstPort} and ${lastPort}`);
  return [...chosen];
}
