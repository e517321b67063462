import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { connect, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { MemoryLog } from '../../../src/adapters/memory/log.ts';
import { Connections } from '../../../src/http/connections.ts';
import { defaultLimits } from '../../../src/http/limits.ts';
import { RequestBody } from '../../../src/http/request-body.ts';
import { RawConnection } from '../../support/http-harness.ts';

/** A bare server: `serve` is its handler, and `idle` plays the timer that finds no byte has moved. */
let serve: (request: IncomingMessage, response: ServerResponse) => void;
let server: Server;
let serverSide: Socket;
const connections = new Connections({ log: new MemoryLog() }, defaultLimits);
const idle = (): boolean => server.emit('timeout', serverSide);

beforeEach(async () => {
  server = createServer((request, response) => {
    serverSide = request.socket;
    connections.begin(response);
    serve(request, response);
  });
  connections.attach(server);
  server.on('clientError', (error, socket) => connections.onClientError(error, socket as Socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
});

afterEach(() => {
  server.closeAllConnections();
  server.close();
});

async function send(text: string): Promise<RawConnection> {
  const { port } = server.address() as { port: number };
  const socket = connect({ port, host: '127.0.0.1' });
  await once(socket, 'connect');
  const raw = new RawConnection(socket);
  const arrived = once(server, 'request');
  raw.send(text);
  await arrived;
  return raw;
}

const upload = 'PUT / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\n12345';

describe('a connection on which nothing moves', () => {
  it('fails an upload that waits for its client, so that the handler can say so', async () => {
    const bodies: RequestBody[] = [];
    serve = async (request, response) => {
      const body = new RequestBody(request);
      bodies.push(body);
      connections.upload(response, body);
      try {
        for await (const _ of body);
      } catch (error) {
        response.end((error as Error).message);
      }
    };
    const raw = await send(upload);
    await vi.waitFor(() => expect(bodies[0]).toMatchObject({ receivedBytes: 5, starved: true }));
    idle();
    await raw.closed;
    expect(raw.received).toContain(`No byte of the body arrived for ${defaultLimits.idleMs} ms.`);
  });

  it('is left alone while the handler is busy, however often', async () => {
    let finish = (): void => {};
    serve = (request, response) => {
      connections.upload(response, new RequestBody(request));
      finish = () => response.end('done');
    };
    const raw = await send(`${upload}67890`);
    const again = vi.spyOn(serverSide, 'setTimeout');
    for (let time = 0; time < 3; time++) idle();
    expect(again).toHaveBeenCalledTimes(3);
    expect(again).toHaveBeenCalledWith(defaultLimits.idleMs);
    finish();
    await raw.until(/done/);
  });

  it('is cut when the client reads nothing of an answer', async () => {
    serve = (_request, response) => {
      response.write(Buffer.alloc(32 * 1024 * 1024));
    };
    const raw = await send('GET / HTTP/1.1\r\nhost: localhost\r\n\r\n');
    raw.socket.pause();
    await vi.waitFor(() => expect(serverSide.writableLength).toBeGreaterThan(0));
    idle();
    expect(serverSide.destroyed).toBe(true);
  });

  it('is cut when a body that nobody streams stops in the middle', async () => {
    serve = (request) => {
      request.resume();
    };
    await send(upload);
    await vi.waitFor(() => expect(serverSide.bytesRead).toBeGreaterThan(0));
    idle();
    expect(serverSide.destroyed).toBe(true);
  });

  it('is cut between requests', async () => {
    serve = (_request, response) => response.end('done');
    const raw = await send('GET / HTTP/1.1\r\nhost: localhost\r\n\r\n');
    await raw.until(/done/);
    idle();
    await raw.closed;
  });
});
