import { fork } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';

const pingsAtOnce = 1;
const pingBytes = 64;

/** Sends single pings to another process over TCP until stopped; each figure is a round trip in milliseconds. */
export async function startPings(intervalMs: number): Promise<{ stop(): Promise<number[]> }> {
  const child = fork(new URL('./echo.ts', import.meta.url));
  const [port] = (await once(child, 'message')) as [number];
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect');
  socket.setNoDelay(true);
  const roundTripsMs: number[] = [];
  const sentMs: number[] = [];
  let arrivedBytes = 0;
  socket.on('data', (bytes) => {
    for (arrivedBytes += bytes.length; arrivedBytes >= pingBytes; arrivedBytes -= pingBytes) {
      roundTripsMs.push(performance.now() - (sentMs.shift() ?? performance.now()));
    }
  });
  const timer = setInterval(() => {
    if (sentMs.length >= pingsAtOnce) return;
    sentMs.push(performance.now());
    socket.write(Buffer.alloc(pingBytes));
  }, intervalMs);
  return {
    async stop() {
      clearInterval(timer);
      socket.destroy();
      child.disconnect();
      await once(child, 'exit');
      return roundTripsMs;
    },
  };
}
