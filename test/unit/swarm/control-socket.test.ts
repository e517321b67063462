import { once } from 'node:events';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { createConnection, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MeshError } from '../../../src/ports/mesh-error.ts';
import {
  type ControlServer,
  callControlSocket,
  isAnswering,
  serveControlSocket,
} from '../../../src/swarm/control-socket.ts';

let folder: string;
let path: string;
const servers: ControlServer[] = [];
const patienceMs = 5_000;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'anabranch-control-'));
  path = join(folder, 'control.sock');
});

afterEach(async () => {
  for (const server of servers.splice(0)) await server.close();
  await rm(folder, { recursive: true });
});

async function serve(handle: (request: unknown) => Promise<unknown>): Promise<void> {
  servers.push(await serveControlSocket(path, handle));
}

/** Sends bytes as they are and gives back all that comes before the end. */
async function exchange(bytes: string | Buffer, lines: number): Promise<string> {
  const socket = createConnection(path);
  socket.setEncoding('utf8');
  socket.on('error', () => undefined);
  let received = '';
  socket.on('data', (text) => {
    received += text;
    if (received.split('\n').length > lines) socket.destroy();
  });
  socket.write(bytes);
  await new Promise((resolve) => socket.once('close', resolve));
  return received;
}

describe('a control socket', () => {
  it('answers commands with results, in order', async () => {
    await serve(async (request) => ({ echo: request }));
    expect(await callControlSocket(path, { command: 'a' }, patienceMs)).toEqual({ echo: { command: 'a' } });
    expect(await exchange('{"n":1}\n{"n":2}\n', 2)).toBe(
      '{"ok":true,"result":{"echo":{"n":1}}}\n{"ok":true,"result":{"echo":{"n":2}}}\n',
    );
  });

  it('is open to its owner only', async () => {
    await serve(async () => null);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
  });

  it.each([
    ['invalid_config', 'invalid_config'],
    ['wrong_state', 'wrong_state'],
    ['io_error', 'io_error'],
    ['peer_unreachable', 'invalid_config'],
  ] as const)(
    "passes a refusal's message on, and %s as %s: nobody there would be said of the socket itself",
    async (code, expected) => {
      await serve(async () => {
        throw new MeshError(code, 'there is no node "n9"');
      });
      await expect(callControlSocket(path, {}, patienceMs)).rejects.toMatchObject({
        code: expected,
        message: 'there is no node "n9"',
      });
    },
  );

  it.each(['nonsense', '[]', '"text"', '{"half":'])('refuses the line %j and goes on', async (line) => {
    await serve(async () => 'fine');
    const received = await exchange(`${line}\n{}\n`, 2);
    expect(received).toContain('"ok":false');
    expect(received).toContain('"result":"fine"');
  });

  it('drops a connection whose line has no end', async () => {
    let calls = 0;
    await serve(async () => {
      calls += 1;
    });
    expect(await exchange(Buffer.alloc(300_000, 0x61), 1)).toBe('');
    expect(calls).toBe(0);
  });

  it('belongs to one process: a second server is refused, a dead one is replaced', async () => {
    await serve(async () => 'first');
    await expect(serveControlSocket(path, async () => 'second')).rejects.toMatchObject({ code: 'directory_in_use' });
    expect(await callControlSocket(path, {}, patienceMs)).toBe('first');
    await servers.pop()?.close();
    await serve(async () => 'second');
    expect(await callControlSocket(path, {}, patienceMs)).toBe('second');
  });

  it('says when nobody is there', async () => {
    expect(await isAnswering(path)).toBe(false);
    await expect(callControlSocket(path, {}, patienceMs)).rejects.toMatchObject({ code: 'peer_unreachable' });
  });

  it('does not wait for ever', async () => {
    await serve(() => new Promise(() => undefined));
    await expect(callControlSocket(path, {}, 50)).rejects.toMatchObject({ code: 'timeout' });
  });

  it('is not waited for when it goes away, nor believed when it says nonsense', async () => {
    const server = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.once('data', () => socket.end('so\n'));
    });
    server.listen(path);
    await once(server, 'listening');
    await expect(callControlSocket(path, {}, patienceMs)).rejects.toMatchObject({ code: 'invalid_config' });
    server.removeAllListeners('connection').on('connection', (socket) => socket.destroy());
    await expect(callControlSocket(path, {}, patienceMs)).rejects.toMatchObject({ code: 'peer_unreachable' });
    server.close();
  });

  it('refuses a path that no kernel takes', async () => {
    const long = join(folder, 'x'.repeat(120), 'control.sock');
    await expect(serveControlSocket(long, async () => null)).rejects.toMatchObject({ code: 'invalid_config' });
  });
});
