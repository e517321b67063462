import { once } from 'node:events';
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createServer as createTcpServer, type Server as TcpServer } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { blake3, toHex } from '../../../crdt/digest.ts';
import { AnabranchClient, type ClientOptions } from '../../../src/client/http-client.ts';

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

async function urlOf(server: Server | TcpServer): Promise<string> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A client of a node that answers as the test says. */
async function clientOf(answer: RequestListener, options: Partial<ClientOptions> = {}): Promise<AnabranchClient> {
  const server = createServer(answer);
  const client = new AnabranchClient({ url: await urlOf(server), token: 'the-token', ...options });
  closers.push(
    () => client.close(),
    () => server.closeAllConnections(),
    () => server.close(),
  );
  return client;
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of request) pieces.push(piece);
  return Buffer.concat(pieces);
}

const content = Buffer.from('what is stored');
const version = 'a'.repeat(52);

function answerContent(response: ServerResponse, body: Buffer, b3 = toHex(blake3(body))): void {
  response.writeHead(200, {
    etag: `"${version}"`,
    'content-length': body.length,
    'content-type': 'text/plain',
    'x-anabranch-state': 'provisional',
    'x-anabranch-heads': '2',
    'x-anabranch-newer': 'b'.repeat(52),
    'x-anabranch-b3': b3,
    'x-anabranch-meta-title': 'K%C3%A4se',
  });
  response.end(body);
}

function answerProblem(response: ServerResponse, status: number, code: string): void {
  response.writeHead(status, { 'content-type': 'application/problem+json' });
  response.end(JSON.stringify({ type: 'about:blank', title: 'No', status, detail: 'It cannot be.', code, version }));
}

async function read(body: AsyncIterable<Uint8Array>): Promise<string> {
  const pieces: Uint8Array[] = [];
  for await (const piece of body) pieces.push(piece);
  return Buffer.concat(pieces).toString();
}

describe('an upload', () => {
  it('sends name, parents, type, metadata and token as the API wants them', async () => {
    const seen: IncomingMessage[] = [];
    const client = await clientOf(async (request, response) => {
      seen.push(request);
      response.end(JSON.stringify({ version, size: (await bodyOf(request)).length }));
    });
    const options = { parents: ['x', 'y'], commit: 'local', type: 'text/plain', meta: { Title: 'Kä se' } } as const;
    expect(await client.put('docs', 'a b/ü%2F/../c', content, options)).toEqual({ version, size: content.length });
    expect(seen[0]?.method).toBe('PUT');
    expect(seen[0]?.url).toBe('/v1/objects/docs/a%20b/%C3%BC%252F/../c?parents=x%2Cy&commit=local');
    expect(seen[0]?.headers).toMatchObject({
      authorization: 'Bearer the-token',
      'content-type': 'text/plain',
      'content-length': String(content.length),
      'x-anabranch-meta-%54itle': 'K%C3%A4%20se',
    });
  });

  it('is pulled only as fast as the node takes it', async () => {
    const arrived = Promise.withResolvers<() => Promise<Buffer>>();
    const client = await clientOf((request, response) => {
      arrived.resolve(async () => {
        const body = await bodyOf(request);
        response.end('{}');
        return body;
      });
    });
    let pulled = 0;
    const piece = Buffer.alloc(1024 * 1024, 1);
    const whole = Promise.withResolvers<void>();
    function* pieces() {
      for (; pulled < 64; pulled += 1) yield piece;
      whole.resolve();
    }
    const sent: number[] = [];
    const put = client.put('docs', 'large', pieces(), { onProgress: (bytes) => sent.push(bytes) });
    const takeAll = await arrived.promise;
    // The kernel's and the server's buffers take a few MiB; the rest has to wait for a reader.
    for (let turn = 0; turn < 1_000; turn += 1) await new Promise(setImmediate);
    expect(pulled).toBeLessThan(32);
    expect((await takeAll()).length).toBe(64 * piece.length);
    await Promise.all([put, whole.promise]);
    expect(sent.at(-1)).toBe(64 * piece.length);
  });

  it('hears an answer that comes before all is sent', async () => {
    const client = await clientOf((_request, response) => answerProblem(response, 401, 'unauthorized'));
    let stop = false;
    async function* endless() {
      while (!stop) yield Buffer.alloc(64 * 1024);
    }
    await expect(client.put('docs', 'endless', endless())).rejects.toMatchObject({ status: 401, code: 'unauthorized' });
    stop = true;
  });

  it('fails with the reason of a source that fails, and the node sees it cut short', async () => {
    const seen = Promise.withResolvers<unknown>();
    const arrived = Promise.withResolvers<void>();
    const client = await clientOf((request) => {
      arrived.resolve();
      bodyOf(request).then(seen.resolve, seen.resolve);
    });
    async function* failing() {
      yield Buffer.alloc(10);
      await arrived.promise;
      throw new Error('the disk is on fire');
    }
    await expect(client.put('docs', 'a', failing())).rejects.toThrow('the disk is on fire');
    expect(await seen.promise).toMatchObject({ code: 'ECONNRESET' });
  });

  it.each([5, 500])('fails when the content has not the %d bytes that were announced', async (size) => {
    const client = await clientOf((request) => void bodyOf(request).catch(() => undefined));
    await expect(client.put('docs', 'a', [content], { size })).rejects.toMatchObject({ code: 'invalid_request' });
  });

  it('fails when the node makes no progress', async () => {
    const client = await clientOf(() => undefined, { stallMsMax: 50 });
    await expect(client.put('docs', 'a', content)).rejects.toMatchObject({ code: 'timeout' });
  });

  it('refuses a name that is not Unicode', async () => {
    const client = await clientOf(() => undefined);
    await expect(client.put('docs', '\ud800', content)).rejects.toMatchObject({ code: 'invalid_request' });
  });
});

describe('a download', () => {
  it('tells what it is, and gives the content', async () => {
    const client = await clientOf((_request, response) => answerContent(response, content));
    const { body, ...rest } = await client.get('docs', 'a');
    expect(rest).toEqual({
      version,
      state: 'provisional',
      heads: 2,
      newer: 'b'.repeat(52),
      b3: toHex(blake3(content)),
      size: content.length,
      type: 'text/plain',
      meta: { title: 'Käse' },
    });
    expect(await read(body)).toBe(content.toString());
  });

  it('fails at the end when the content is not what its hash says', async () => {
    const client = await clientOf((_request, response) => answerContent(response, content, '0'.repeat(64)));
    const { body } = await client.get('docs', 'a');
    await expect(read(body)).rejects.toMatchObject({ code: 'content_mismatch' });
  });

  it('fails when it is cut short', async () => {
    const client = await clientOf((_request, response) => {
      response.writeHead(200, { etag: '"v"', 'x-anabranch-b3': '0'.repeat(64), 'content-length': 100 });
      response.write('half', () => response.destroy());
    });
    const { body } = await client.get('docs', 'a');
    await expect(read(body)).rejects.toMatchObject({ code: 'connection_lost' });
  });

  /** Sends a part of the content, from where a range begins, and then cuts the connection. */
  function answerPart(request: IncomingMessage, response: ServerResponse, until: number, etag = `"${version}"`): void {
    const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? 'bytes=0-')?.[1]);
    response.writeHead(request.headers.range === undefined ? 200 : 206, {
      etag,
      'content-length': content.length - from,
      'x-anabranch-b3': toHex(blake3(content)),
      ...(request.headers.range && { 'content-range': `bytes ${from}-${content.length - 1}/${content.length}` }),
    });
    if (until === content.length) response.end(content.subarray(from));
    else response.write(content.subarray(from, until), () => setImmediate(() => response.destroy()));
  }

  it('goes on where the connection was cut, with the same version, and is whole', async () => {
    const seen: (readonly [string | undefined, string | undefined])[] = [];
    const client = await clientOf((request, response) => {
      seen.push([request.url, request.headers.range]);
      answerPart(request, response, [4, 9, content.length][seen.length - 1] as number);
    });
    const { body } = await client.get('docs', 'a', { mode: 'preferred' });
    expect(await read(body)).toBe(content.toString());
    const again = `/v1/objects/docs/a?version=${version}`;
    expect(seen).toEqual([
      ['/v1/objects/docs/a?mode=preferred', undefined],
      [again, 'bytes=4-'],
      [again, 'bytes=9-'],
    ]);
  });

  it('fails with what the node says of the rest', async () => {
    const client = await clientOf((request, response) => {
      if (request.headers.range === undefined) answerPart(request, response, 4);
      else answerProblem(response, 503, 'content_unavailable');
    });
    const { body } = await client.get('docs', 'a');
    await expect(read(body)).rejects.toMatchObject({ code: 'content_unavailable', status: 503 });
  });

  it('fails when asking again brings no more, or another version', async () => {
    for (const etag of [`"${version}"`, `"${'b'.repeat(52)}"`]) {
      let asked = 0;
      const client = await clientOf((request, response) => {
        asked += 1;
        // No byte of the rest of the same version; all of the rest of another.
        if (asked === 1) answerPart(request, response, 4);
        else answerPart(request, response, etag.includes('b') ? content.length : 4, etag);
      });
      const { body } = await client.get('docs', 'a');
      await expect(read(body)).rejects.toMatchObject({ code: 'connection_lost' });
      expect(asked).toBe(2);
    }
  });

  it('fails with how it was cut when no node answers any more', async () => {
    const server = createServer((request, response) => {
      server.close();
      answerPart(request, response, 4);
    });
    const client = new AnabranchClient({ url: await urlOf(server) });
    closers.push(() => client.close());
    const { body } = await client.get('docs', 'a');
    await expect(read(body)).rejects.toMatchObject({ code: 'connection_lost' });
  });

  it('fails when it stalls', async () => {
    const answer = (_request: IncomingMessage, response: ServerResponse): void => {
      response.writeHead(200, { etag: '"v"', 'x-anabranch-b3': '0'.repeat(64), 'content-length': 100 });
      response.write('half');
    };
    const { body } = await (await clientOf(answer, { stallMsMax: 50 })).get('docs', 'a');
    await expect(read(body)).rejects.toMatchObject({ code: 'timeout' });
  });

  it('is refused when something else than a node answers', async () => {
    const client = await clientOf((_request, response) => response.end('hello'));
    await expect(client.get('docs', 'a')).rejects.toMatchObject({ code: 'bad_response' });
  });
});

describe('a call', () => {
  it('carries the problem document of a refusal', async () => {
    const client = await clientOf((_request, response) => answerProblem(response, 404, 'not_found'));
    await expect(client.graph('docs', 'a')).rejects.toMatchObject({
      name: 'ApiError',
      status: 404,
      code: 'not_found',
      message: 'It cannot be.',
      problem: { version },
    });
  });

  it.each([
    ['text', 'nope'],
    ['JSON that is no object', '[]'],
  ])('makes do with the status when the refusal is %s', async (_what, text) => {
    const client = await clientOf((_request, response) => response.writeHead(502).end(text));
    await expect(client.status()).rejects.toMatchObject({ code: 'http_502', status: 502 });
  });

  it('fails on an answer that is not JSON', async () => {
    const client = await clientOf((_request, response) => response.end('{"half":'));
    await expect(client.status()).rejects.toMatchObject({ code: 'bad_response' });
  });

  it('says that nobody is there', async () => {
    const server = createTcpServer();
    const url = await urlOf(server);
    server.close();
    await once(server, 'close');
    await expect(new AnabranchClient({ url }).status()).rejects.toMatchObject({ code: 'unreachable', status: 0 });
  });

  it('says that something else is there', async () => {
    const server = createTcpServer((socket) => socket.end('SSH-2.0-OpenSSH_9\r\n'));
    closers.push(() => server.close());
    await expect(new AnabranchClient({ url: await urlOf(server) }).status()).rejects.toMatchObject({
      code: 'bad_response',
    });
  });

  it.each(['127.0.0.1:7400', 'ftp://host', 'http://host/path', ''])('refuses %j as the URL of a node', (url) => {
    expect(() => new AnabranchClient({ url })).toThrow('is not the URL of a node');
  });

  it('ends with the reason of its signal', async () => {
    const client = await clientOf(() => undefined);
    const reason = new Error('enough');
    const controller = new AbortController();
    const status = client.status(controller.signal);
    controller.abort(reason);
    await expect(status).rejects.toBe(reason);
    await expect(client.status(AbortSignal.abort(reason))).rejects.toBe(reason);
  });

  it('is made again when the node closed the kept connection just then, but only when it reads', async () => {
    let calls = 0;
    const server = createTcpServer((socket) => {
      let served = false;
      socket.on('data', () => {
        calls += 1;
        if (served) socket.destroy();
        else socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}');
        served = true;
      });
    });
    closers.push(() => server.close());
    const client = new AnabranchClient({ url: await urlOf(server) });
    closers.push(() => client.close());
    await client.status();
    await client.status();
    expect(calls).toBe(3);
    await expect(client.delete('docs', 'a')).rejects.toMatchObject({ code: 'connection_lost' });
    expect(calls).toBe(4);
  });
});

describe('the event stream', () => {
  it('yields events until its signal ends it', async () => {
    const client = await clientOf((request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      const data = JSON.stringify({ resumed: request.headers['last-event-id'] });
      response.write(`: connected\n\nid: 8\nevent: node\ndata: ${data}\n\n`);
    });
    const controller = new AbortController();
    const events = (await client.events({ after: 7, signal: controller.signal }))[Symbol.asyncIterator]();
    expect((await events.next()).value).toEqual({ id: 8, type: 'node', data: { resumed: '7' } });
    const reason = new Error('enough');
    const next = events.next();
    controller.abort(reason);
    await expect(next).rejects.toBe(reason);
  });
});
