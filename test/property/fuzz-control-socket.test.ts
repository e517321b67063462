import { mkdtemp, rm } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type ControlServer, callControlSocket, serveControlSocket } from '../../src/swarm/control-socket.ts';
import { runs } from '../support/property-runs.ts';

const patienceMs = 5_000;

let folder: string;
let path: string;
let server: ControlServer;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'anabranch-control-'));
  path = join(folder, 'control.sock');
  server = await serveControlSocket(path, async (request) => request);
});

afterAll(async () => {
  await server.close();
  await rm(folder, { recursive: true });
});

const linesOf = (text: string): number => text.split('\n').length - 1;

/** Sends bytes as they are; what comes until there is an answer to every line of them. */
async function exchange(bytes: Buffer): Promise<string> {
  const socket = createConnection(path);
  socket.setEncoding('utf8');
  socket.write(bytes);
  let received = '';
  for await (const text of socket) {
    received += String(text);
    if (linesOf(received) >= linesOf(bytes.toString('latin1'))) break;
  }
  return received;
}

const command = fc
  .json({ maxDepth: 3 })
  .map((json) => Buffer.from(`${json}\n`))
  .filter((line) => line.length < 10_000);
const garbage = fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes));

test('a control socket answers every line with one of JSON, and the next command as ever, whatever was sent to it', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.oneof(command, garbage), { maxLength: 6 }), async (parts) => {
      const received = await exchange(Buffer.concat([...parts, Buffer.from('\n')]));
      const answers = received.split('\n').slice(0, -1);
      for (const answer of answers) expect(typeof JSON.parse(answer).ok).toBe('boolean');
      expect(await callControlSocket(path, { hello: 1 }, patienceMs)).toEqual({ hello: 1 });
    }),
    runs(1),
  );
});
