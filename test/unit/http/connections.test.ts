import { createServer } from 'node:net';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { MemoryLog } from '../../../src/adapters/memory/log.ts';
import { SystemClock } from '../../../src/adapters/system/clock.ts';
import { createHttpServer } from '../../../src/http/server.ts';
import { FakeNode } from '../../support/fake-node.ts';
import { HttpHarness, token } from '../../support/http-harness.ts';

let http: HttpHarness;
beforeAll(async () => {
  http = await HttpHarness.start();
});
afterAll(() => http.server.close());

describe('the token', () => {
  it.each(['', 'Bearer', 'Bearer wrong', `Basic ${token}`, `Bearer ${token}x`, `Bearer ${token} ${token}`, token])(
    'is not %j',
    async (authorization) => {
      for (const [method, path] of [
        ['GET', '/v1/status'],
        ['PUT', '/v1/objects/docs/a'],
        ['GET', '/v1/events'],
      ] as const) {
        const answer = await http.ask(method, path, { headers: { authorization } });
        expect([answer.status, answer.json.code]).toEqual([401, 'unauthorized']);
        expect(answer.headers.get('www-authenticate')).toMatch(/^Bearer realm="anabranch"/);
      }
    },
  );

  it('is read whatever the case of its scheme', async () => {
    expect((await http.ask('GET', '/v1/status', { headers: { authorization: `bearer  ${token}` } })).status).toBe(200);
  });

  it('guards what is not there under /v1, and paths that are none', async () => {
    for (const path of ['/v1/nothing', '/v1', '/v1/objects/docs/%ff']) {
      expect((await http.askRaw('GET', path, { authorization: 'Bearer wrong' })).status).toBe(401);
    }
  });

  it('is not needed by supervisors, scrapers and API explorers', async () => {
    for (const path of ['/healthz', '/readyz', '/metrics', '/openapi.json']) {
      expect((await http.ask('GET', path, { headers: { authorization: '' } })).status).toBe(200);
      expect((await http.ask('HEAD', path, { headers: { authorization: '' } })).text).toBe('');
    }
  });
});

describe('the Host header', () => {
  it.each([
    'evil.example',
    'localhost.evil.example',
    '127.0.0.1.evil.example:80',
    '127.0.0.2',
    '[::2]',
    'localhost:x',
    '',
  ])('may not be %j', async (host) => {
    for (const path of ['/v1/status', '/healthz', '/v1/objects/docs/%ff', '/nothing']) {
      const answer = await http.askRaw('GET', path, { host });
      expect([answer.status, answer.json.code], path).toEqual([403, 'forbidden']);
    }
  });

  it.each(['localhost', 'LOCALHOST:7400', '127.0.0.1', '[::1]', '[::1]:7400'])('may be %j', async (host) => {
    expect((await http.askRaw('GET', '/v1/status', { host })).status).toBe(200);
  });

  it('may not be missing, and a target is a path', async () => {
    for (const head of [
      'GET /healthz HTTP/1.1\r\n\r\n',
      'GET http://localhost/healthz HTTP/1.1\r\nhost: localhost\r\n\r\n',
    ]) {
      const raw = await http.connect(head.replace('\r\n\r\n', '\r\nconnection: close\r\n\r\n'));
      const answer = await raw.answer();
      expect([answer.status, answer.json.code]).toEqual([400, 'invalid_request']);
    }
  });
});

describe('addresses and methods', () => {
  it('answer 404 where there is nothing', async () => {
    for (const path of [
      '/',
      '/nothing',
      '/v1',
      '/v1/',
      '/v1/objects',
      '/v1//objects/docs',
      '//v1/status',
      '/V1/status',
      `/nothing/${'x'.repeat(500)}`,
    ]) {
      const answer = await http.askRaw('GET', path);
      expect([answer.status, answer.json.code, answer.headers.get('content-type')], path).toEqual([
        404,
        'not_found',
        'application/problem+json',
      ]);
    }
  });

  it('answer 405 with the methods that are allowed', async () => {
    for (const [method, path, allow] of [
      ['POST', '/v1/objects/docs/a', 'PUT, DELETE, GET, HEAD'],
      ['PROPFIND', '/v1/objects/docs/a/b', 'PUT, DELETE, GET, HEAD'],
      ['OPTIONS', '/v1/status', 'GET, HEAD'],
      ['HEAD', '/v1/events', 'GET'],
      ['GET', '/v1/merges/docs/a', 'POST'],
      ['DELETE', '/v1/objects/docs', 'GET, HEAD'],
      ['POST', '/metrics', 'GET, HEAD'],
    ]) {
      const answer = await http.askRaw(method as string, path as string);
      expect([answer.status, answer.headers.get('allow')?.split(', ').sort()], `${method} ${path}`).toEqual([
        405,
        allow?.split(', ').sort(),
      ]);
    }
  });
});

describe('bytes that are no request', () => {
  it.each([
    ['nonsense\r\n\r\n', 400, 'invalid_request'],
    ['GET /healthz HTTP/1.1\r\nhost: localhost\r\nbad header\r\n\r\n', 400, 'invalid_request'],
    [`GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: ${'x'.repeat(70_000)}\r\n\r\n`, 431, 'headers_too_large'],
    [
      'PUT /v1/objects/docs/a HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n',
      400,
      'invalid_request',
    ],
  ])('are answered as a problem: %.30s', async (text, status, code) => {
    const answer = await (await http.connect(text)).answer();
    expect([answer.status, answer.json.code, answer.headers.get('content-type')]).toEqual([
      status,
      code,
      'application/problem+json',
    ]);
  });

  it('do not take the answer of the request before them away', async () => {
    const raw = await http.connect(
      `${http.head('PUT', '/v1/objects/docs/a', { 'content-length': 1 })}xnonsense\r\n\r\n`,
    );
    expect((await raw.answer()).status).toBe(201);
  });

  it('take more headers than Node counts by default', async () => {
    const many = Object.fromEntries(Array.from({ length: 2_500 }, (_, index) => [`x-${index}`, '']));
    const last = { ...many, 'x-anabranch-meta-last': 'here', 'content-length': 0 };
    await http.askRaw('PUT', '/v1/objects/docs/many', last);
    expect((await http.ask('HEAD', '/v1/objects/docs/many')).headers.get('x-anabranch-meta-last')).toBe('here');
  });
});

describe('clients that do nothing', () => {
  let impatient: HttpHarness;
  beforeAll(async () => {
    impatient = await HttpHarness.start({ idleMs: 400 });
  });
  afterAll(() => impatient.server.close());

  it('are given up when their headers do not arrive', async () => {
    const raw = await impatient.connect('GET /healthz HTTP/1.1\r\nhost:');
    await raw.closed;
    raw.socket.destroy();
  });

  it('are read no further ahead of than the sockets hold, and given up when they do not read at all', async () => {
    const read = impatient.node.read.bind(impatient.node);
    await impatient.put('/v1/objects/docs/large', 'x');
    let bytes = 0;
    let ended = false;
    vi.spyOn(impatient.node, 'read').mockImplementation((input) => {
      const outcome = read(input);
      if (!outcome.ok) return outcome;
      const endless = (async function* () {
        try {
          for (;;) {
            bytes += 65_536;
            yield Buffer.alloc(65_536);
          }
        } finally {
          ended = true;
        }
      })();
      return { ok: true, value: { ...outcome.value, size: 1e12, open: async () => ({ ok: true, value: endless }) } };
    });
    const raw = await impatient.connect();
    raw.socket.pause();
    raw.send(impatient.head('GET', '/v1/objects/docs/large'));
    await vi.waitFor(() => expect(ended).toBe(true), { timeout: 5_000 });
    expect(bytes).toBeLessThan(32 * 1024 * 1024);
    raw.socket.destroy();
  });
});

describe('createHttpServer', () => {
  const open = (host: string, port = 0, secret = token) =>
    createHttpServer(
      {
        node: new FakeNode(),
        token: secret,
        metricsText: async () => '',
        log: new MemoryLog(),
        clock: new SystemClock(),
      },
      { host, port },
    );

  it.each(['0.0.0.0', '::', '192.168.1.2', 'example.com', '127.0.0.2', ''])('refuses to listen on %j', async (host) => {
    await expect(open(host)).rejects.toMatchObject({
      code: 'invalid_config',
      message: expect.stringContaining('loopback'),
    });
  });

  it('listens on localhost by its address', async () => {
    const server = await open('localhost');
    expect(server.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
    await server.close();
  });

  it('says which port is in use', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => taken.once('listening', resolve));
    const { port } = taken.address() as { port: number };
    await expect(open('127.0.0.1', port)).rejects.toMatchObject({ code: 'invalid_config', detail: { port } });
    await new Promise((resolve) => taken.close(resolve));
  });

  it('refuses an empty token', async () => {
    await expect(open('127.0.0.1', 0, '')).rejects.toMatchObject({ code: 'invalid_config' });
  });
});
