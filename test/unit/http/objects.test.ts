import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { ReadVersion } from '../../../src/node/api.ts';
import { MeshError } from '../../../src/ports/mesh-error.ts';
import { HttpHarness } from '../../support/http-harness.ts';

let http: HttpHarness;
beforeAll(async () => {
  http = await HttpHarness.start();
});
afterAll(() => http.server.close());

const unknownId = 'a'.repeat(52);

describe('PUT', () => {
  it('stores content with its type and metadata and answers with the version', async () => {
    const put = await http.put('/v1/objects/docs/notes/a.md', 'hello', {
      'content-type': 'text/markdown',
      'x-anabranch-meta-Title': 'K%C3%A4se',
    });
    expect(put.status).toBe(201);
    expect(put.json).toMatchObject({
      ns: 'docs',
      key: 'notes/a.md',
      kind: 'put',
      size: 5,
      parents: [],
      conflict: false,
    });
    expect(put.headers.get('etag')).toBe(`"${put.json.version}"`);
    const got = await http.ask('GET', '/v1/objects/docs/notes%2Fa.md');
    expect(got.text).toBe('hello');
    expect(got.headers.get('content-type')).toBe('text/markdown');
    expect(got.headers.get('x-anabranch-meta-title')).toBe('K%C3%A4se');
    expect(got.headers.get('x-anabranch-state')).toBe('provisional');
    expect(got.headers.get('x-anabranch-heads')).toBe('1');
    expect(got.headers.get('x-anabranch-b3')).toBe(put.json.b3);
    expect(got.headers.get('x-anabranch-newer')).toBeNull();
    expect(got.headers.get('etag')).toBe(put.headers.get('etag'));
  });

  it.each(['', 'x'])('stores a body of %j whole', async (body) => {
    expect((await http.put('/v1/objects/docs/tiny', body)).json.size).toBe(body.length);
    const got = await http.ask('GET', '/v1/objects/docs/tiny');
    expect([got.status, got.text, got.headers.get('content-length')]).toEqual([200, body, String(body.length)]);
  });

  it('stores JSON, forms and multipart bodies as the bytes they are', async () => {
    for (const type of ['application/json', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x']) {
      await http.put('/v1/objects/docs/any', '{not json', { 'content-type': type });
      const got = await http.ask('GET', '/v1/objects/docs/any');
      expect([got.text, got.headers.get('content-type')]).toEqual(['{not json', type]);
    }
  });

  it('takes bodies of unknown length', async () => {
    const body = ReadableStream.from([Buffer.from('one '), Buffer.from('two')]);
    expect((await http.put('/v1/objects/docs/chunked', body)).json.size).toBe(7);
  });

  it('supersedes the named parents, by parameter or by If-Match', async () => {
    const first = await http.put('/v1/objects/docs/named', '1');
    const left = await http.put(`/v1/objects/docs/named?parents=${first.json.version}`, '2');
    const right = await http.put('/v1/objects/docs/named', '3', { 'if-match': first.headers.get('etag') as string });
    expect(right.json).toMatchObject({ parents: [first.json.version], conflict: true });
    const parents = [left.json.version, right.json.version];
    const merged = await http.put(`/v1/objects/docs/named?parents=${parents.join(',')}`, '4');
    expect(merged.json).toMatchObject({ kind: 'merge', conflict: false });
  });

  it('refuses parents that contradict If-Match, and writes nothing', async () => {
    const first = await http.put('/v1/objects/docs/both', '1');
    const refused = await http.put(`/v1/objects/docs/both?parents=${unknownId}`, '2', {
      'if-match': first.headers.get('etag') as string,
    });
    expect([refused.status, refused.json.code]).toEqual([400, 'invalid_request']);
    expect((await http.ask('GET', '/v1/graphs/docs/both')).json.versions).toHaveLength(1);
  });

  it.each([
    ['parents=nonsense', 'invalid_version'],
    [`parents=${unknownId}`, 'unknown_parent'],
    ['commit=later', 'invalid_request'],
    ['pretty', 'invalid_request'],
    ['mode=preferred', 'invalid_request'],
  ])('answers ?%s with %s', async (query, code) => {
    const refused = await http.put(`/v1/objects/docs/refused?${query}`, 'x');
    expect([refused.status, refused.json.code]).toEqual([400, code]);
  });

  it('refuses a parent of another object', async () => {
    const other = await http.put('/v1/objects/docs/other', '1');
    const refused = await http.put(`/v1/objects/docs/mine?parents=${other.json.version}`, '2');
    expect(refused.json).toMatchObject({ code: 'foreign_parent', parent: other.json.version });
  });

  it('carries the stored version when no quorum confirms it', async () => {
    const put = await http.put('/v1/objects/docs/quorum?commit=quorum', 'x');
    expect([put.status, put.json.code]).toEqual([503, 'quorum_unavailable']);
    expect((await http.ask('GET', `/v1/objects/docs/quorum?version=${put.json.version}`)).text).toBe('x');
  });

  it.each([{ 'if-none-match': '*' }, { 'content-encoding': 'gzip' }, { 'content-range': 'bytes 0-1/2' }])(
    'refuses %j, which it would otherwise have to ignore',
    async (headers) => {
      expect((await http.put('/v1/objects/docs/headers', 'x', headers)).json.code).toBe('invalid_request');
    },
  );

  it('refuses metadata past its bound and takes 8 KiB of it', async () => {
    const put = (length: number) =>
      http.put('/v1/objects/docs/meta', 'x', { 'x-anabranch-meta-a': 'y'.repeat(length) });
    expect((await put(8_191)).status).toBe(201);
    expect((await put(8_192)).json).toMatchObject({ code: 'too_large', status: 413 });
  });

  it('makes versions of two bodies that arrive at once', async () => {
    const [one, two] = await Promise.all([
      http.put('/v1/objects/docs/race', '1'),
      http.put('/v1/objects/docs/race', '2'),
    ]);
    expect([one?.status, two?.status]).toEqual([201, 201]);
    expect((await http.ask('GET', '/v1/graphs/docs/race')).json.versions).toHaveLength(2);
  });

  it('writes a meaningless media type off as unsupported', async () => {
    expect((await http.put('/v1/objects/docs/type', 'x', { 'content-type': 'nonsense' })).status).toBe(415);
  });
});

describe('keys and namespaces', () => {
  const longest = 'й'.repeat(512);

  it('takes keys up to 1,024 bytes of UTF-8, percent-encoded or not', async () => {
    expect((await http.put(`/v1/objects/docs/${encodeURIComponent(longest)}`, 'x')).json.key).toBe(longest);
    const refused = await http.put(`/v1/objects/docs/${encodeURIComponent(`${longest}a`)}`, 'x');
    expect(refused.json.code).toBe('invalid_key');
    expect((await http.askRaw('GET', `/v1/objects/docs/${'x'.repeat(30_000)}`)).json.code).toBe('invalid_key');
    expect((await http.askRaw('GET', `/v1/objects/${'x'.repeat(30_000)}/a`)).json.code).toBe('invalid_namespace');
  });

  it.each([
    ['/v1/objects/docs/../../status', 'invalid_key'],
    ['/v1/objects/docs/%2e%2e/%2e%2e/status', 'invalid_key'],
    ['/v1/objects/docs/a/..', 'invalid_key'],
    ['/v1/objects/docs/a/%2E/b', 'invalid_key'],
    ['/v1/objects/docs/', 'invalid_key'],
    ['/v1/objects/docs/a%00b', 'invalid_key'],
    ['/v1/objects/docs/%ff', 'invalid_key'],
    ['/v1/objects/docs/%zz', 'invalid_key'],
    ['/v1/objects/docs/a%', 'invalid_key'],
    ['/v1/graphs/docs/%C0%AF', 'invalid_key'],
    ['/v1/objects/../status', 'invalid_namespace'],
    ['/v1/objects/a%2Fb/c', 'invalid_namespace'],
    ['/v1/objects/UPPER/c', 'invalid_namespace'],
    ['/v1/objects/%ff', 'invalid_request'],
  ])('answers GET %s with %s, whatever a router makes of it', async (path, code) => {
    const answer = await http.askRaw('GET', path);
    expect([answer.status, answer.json.code]).toEqual([400, code]);
  });

  it('keeps double slashes and ends', async () => {
    for (const key of ['a//b', '/a', 'a/', 'a%2Fb//']) {
      const put = await http.put(`/v1/objects/docs/${key}`, key);
      expect(put.json.key).toBe(decodeURIComponent(key));
    }
  });
});

describe('GET and HEAD', () => {
  const text = '0123456789';
  const path = '/v1/objects/docs/ten';
  let etag: string;
  beforeAll(async () => {
    etag = (await http.put(path, text)).headers.get('etag') as string;
  });

  it('gives ranges', async () => {
    for (const [range, expected] of [
      ['bytes=2-4', '234'],
      ['bytes=7-', '789'],
      ['bytes=-2', '89'],
      ['bytes=0-99', text],
    ] as const) {
      const got = await http.ask('GET', path, { headers: { range } });
      expect([got.status, got.text, got.headers.get('content-length')]).toEqual([
        206,
        expected,
        String(expected.length),
      ]);
      const start = text.indexOf(expected);
      expect(got.headers.get('content-range')).toBe(`bytes ${start}-${start + expected.length - 1}/10`);
    }
  });

  it('refuses ranges outside and several ranges with 416 and the size', async () => {
    for (const range of ['bytes=10-', 'bytes=0-1,3-4', 'bytes=-0']) {
      const got = await http.ask('GET', path, { headers: { range } });
      expect([got.status, got.json.code, got.headers.get('content-range')]).toEqual([
        416,
        'range_not_satisfiable',
        'bytes */10',
      ]);
    }
  });

  it('takes a range under If-Range only of the same version', async () => {
    const get = (ifRange: string) => http.ask('GET', path, { headers: { range: 'bytes=0-0', 'if-range': ifRange } });
    expect((await get(etag)).status).toBe(206);
    expect((await get(`"${unknownId}"`)).status).toBe(200);
  });

  it('answers 304 to the version the client has, before it looks at a range', async () => {
    for (const method of ['GET', 'HEAD']) {
      const got = await http.ask(method, path, { headers: { 'if-none-match': etag, range: 'bytes=99-' } });
      expect([got.status, got.text, got.headers.get('etag')]).toEqual([304, '', etag]);
    }
    expect((await http.ask('GET', path, { headers: { 'if-none-match': `"${unknownId}"` } })).status).toBe(200);
  });

  it('gives HEAD the headers of GET and never opens the content', async () => {
    const open = vi.fn();
    const read = http.node.read.bind(http.node);
    vi.spyOn(http.node, 'read').mockImplementation((input) => {
      const outcome = read(input);
      return outcome.ok ? { ok: true, value: { ...outcome.value, open } } : outcome;
    });
    const head = await http.ask('HEAD', path);
    expect([head.status, head.text, head.headers.get('content-length')]).toEqual([200, '', '10']);
    expect(open).not.toHaveBeenCalled();
    vi.restoreAllMocks();
    const get = await http.ask('GET', path);
    for (const name of ['etag', 'x-anabranch-b3', 'x-anabranch-heads', 'content-type', 'accept-ranges']) {
      expect(head.headers.get(name)).toBe(get.headers.get(name));
    }
  });

  it.each([
    ['/v1/objects/docs/none', 404, 'not_found'],
    [`${path}?version=${unknownId}`, 404, 'version_not_found'],
    [`${path}?version=nonsense`, 400, 'invalid_version'],
    [`${path}?mode=confirmed_only`, 404, 'not_confirmed'],
    [`${path}?mode=newest`, 400, 'invalid_request'],
    [`${path}?mode=preferred&version=${unknownId}`, 400, 'invalid_request'],
  ])('answers %s with %i %s', async (target, status, code) => {
    const got = await http.ask('GET', target);
    expect([got.status, got.json.code]).toEqual([status, code]);
    expect((await http.ask('HEAD', target)).status).toBe(status);
  });

  it('names a newer head and an older version exactly', async () => {
    const first = await http.put('/v1/objects/docs/fork', '1');
    for (const body of ['2', '3']) await http.put(`/v1/objects/docs/fork?parents=${first.json.version}`, body);
    const got = await http.ask('GET', '/v1/objects/docs/fork?mode=provisional_allowed');
    expect(got.headers.get('x-anabranch-heads')).toBe('2');
    expect(got.headers.get('x-anabranch-newer')).toMatch(/^[a-z2-7]{52}$/);
    expect((await http.ask('GET', `/v1/objects/docs/fork?version=${first.json.version}`)).text).toBe('1');
  });

  it('cuts the connection when content fails after it has begun, so nothing short looks whole', async () => {
    for (const content of [failing(), short()]) {
      serve(content, 200_000);
      const raw = await http.connect(http.head('GET', path));
      await raw.closed;
      expect(raw.received).toMatch(/^HTTP\/1\.1 200 OK\r\n[\s\S]*content-length: 200000\r\n/);
      expect(raw.received.length).toBeLessThan(200_000);
      await expect(fetch(http.server.url + path, { headers: { authorization: `Bearer x` } })).resolves.toHaveProperty(
        'status',
        401,
      );
      vi.restoreAllMocks();
    }
    expect(http.log.linesOf('http:content-failed')).toHaveLength(2);
  });

  it.each([
    ['content_unavailable', 'content_unavailable', 2],
    ['corrupt', 'damaged', 2],
    ['corrupt', 'damaged', 20],
  ] as const)(
    'answers %s with the code %s when a first piece of %i bytes has not gone out, and keeps the connection',
    async (code, expected, pieceBytes) => {
      for (const headers of [{}, { range: 'bytes=0-2' }]) {
        serve(failing(code, 1, pieceBytes), 10);
        const raw = await http.connect(http.head('GET', path, headers));
        await raw.until(/"code":"/);
        vi.restoreAllMocks();
        raw.send(http.head('GET', path, { connection: 'close' }));
        const { status, text: rest, headers: refused } = await raw.answer();
        expect(status).toBe(503);
        expect(rest).toContain(`"code":"${expected}"`);
        expect(rest).toMatch(/HTTP\/1\.1 200 OK\r\n[\s\S]*\r\n0123456789$/);
        expect([refused.get('etag'), refused.get('content-range')]).toEqual([null, null]);
      }
    },
  );

  it('never sends more than it announced', async () => {
    serve(tooLong(), 10);
    const raw = await http.connect(http.head('GET', path));
    await raw.closed;
    expect(raw.received.split('\r\n\r\n')[1]?.length ?? 0).toBeLessThan(10);
    vi.restoreAllMocks();
  });

  it('stops reading content when the client goes away, and counts what was handed to it', async () => {
    let ended = false;
    let pieces = 0;
    const pieceBytes = 65_536;
    const endless = async function* (): AsyncGenerator<Uint8Array> {
      try {
        for (; ; pieces += 1) yield Buffer.alloc(pieceBytes);
      } finally {
        ended = true;
      }
    };
    serve(endless(), 1e12);
    const sentBytes = (): number => http.metrics.value('anabranch_http_content_sent_bytes_total');
    const before = sentBytes();
    const raw = await http.connect(http.head('GET', path));
    await raw.until(/200 OK/);
    raw.socket.destroy();
    await vi.waitFor(() => expect(ended).toBe(true));
    expect(sentBytes() - before).toBeGreaterThan(0);
    expect(sentBytes() - before).toBeLessThanOrEqual(pieces * pieceBytes);
    vi.restoreAllMocks();
  });

  it.each([0, 1])(
    'takes a client that leaves while content is waited for behind %i chunks as no fault',
    async (chunks) => {
      const read = http.node.read.bind(http.node);
      let isWaiting = false;
      const goneOf = (signal: AbortSignal | undefined) =>
        new Promise<never>((_resolve, reject) => {
          isWaiting = true;
          signal?.addEventListener('abort', () => reject(signal.reason));
        });
      const waiting = async function* (signal: AbortSignal | undefined): AsyncGenerator<Uint8Array> {
        yield Buffer.from('0');
        await goneOf(signal);
      };
      vi.spyOn(http.node, 'read').mockImplementation((input) => {
        const outcome = read(input);
        if (!outcome.ok) return outcome;
        const open: ReadVersion['open'] = async (_range, signal) =>
          chunks === 0 ? goneOf(signal) : { ok: true, value: waiting(signal) };
        return { ok: true, value: { ...outcome.value, open } };
      });
      const faults = (): number =>
        ['failed', 'content-failed'].flatMap((what) => http.log.linesOf(`http:${what}`)).length;
      const faultsBefore = faults();
      const raw = await http.connect(http.head('GET', path));
      await vi.waitFor(() => expect(isWaiting).toBe(true));
      raw.socket.destroy();
      const labels = { method: 'GET', route: '/v1/objects/:ns/*', status: 'aborted' };
      const before = http.metrics.value('anabranch_http_requests_total', labels);
      await vi.waitFor(() => expect(http.metrics.value('anabranch_http_requests_total', labels)).toBe(before + 1));
      expect(faults()).toBe(faultsBefore);
      vi.restoreAllMocks();
    },
  );

  it('answers 503 when the content cannot be had', async () => {
    const refusal = { code: 'content_unavailable', message: 'No node that is connected has it.' } as const;
    serve(refusal, 10);
    expect((await http.ask('GET', path)).json).toMatchObject({ status: 503, code: 'content_unavailable' });
    vi.restoreAllMocks();
  });

  function serve(
    content: AsyncIterable<Uint8Array> | { code: 'content_unavailable'; message: string },
    size: number,
  ): void {
    const read = http.node.read.bind(http.node);
    vi.spyOn(http.node, 'read').mockImplementation((input) => {
      const outcome = read(input);
      if (!outcome.ok) return outcome;
      const open = async () =>
        'code' in content ? { ok: false as const, error: content } : { ok: true as const, value: content };
      return { ok: true, value: { ...outcome.value, size, open } };
    });
  }

  async function* failing(
    code: 'corrupt' | 'content_unavailable' = 'corrupt',
    pieces = 2,
    pieceBytes = 65_536,
  ): AsyncGenerator<Uint8Array> {
    for (let piece = 0; piece < pieces; piece++) yield Buffer.alloc(pieceBytes);
    throw new MeshError(code, 'a chunk does not match its name');
  }

  async function* short(): AsyncGenerator<Uint8Array> {
    for (let piece = 0; piece < 3; piece++) yield Buffer.alloc(65_536);
  }

  async function* tooLong(): AsyncGenerator<Uint8Array> {
    for (let piece = 0; piece < 3; piece++) yield Buffer.alloc(4);
  }
});

describe('DELETE', () => {
  it('writes a tombstone, after which the object reads as deleted', async () => {
    const first = await http.put('/v1/objects/docs/gone', 'x');
    const deleted = await http.ask('DELETE', `/v1/objects/docs/gone?parents=${first.json.version}`);
    expect(deleted.status).toBe(201);
    expect(deleted.json).toMatchObject({ kind: 'delete', size: null, b3: null, parents: [first.json.version] });
    expect(deleted.headers.get('etag')).toBe(`"${deleted.json.version}"`);
    const got = await http.ask('GET', '/v1/objects/docs/gone');
    expect([got.status, got.json.code, got.json.heads]).toEqual([404, 'deleted', [deleted.json.version]]);
    expect((await http.ask('GET', `/v1/objects/docs/gone?version=${first.json.version}`)).text).toBe('x');
  });

  it('answers 404 for what was never there, and ignores a body', async () => {
    expect((await http.ask('DELETE', '/v1/objects/docs/never', { body: '{}' })).json.code).toBe('not_found');
  });
});

describe('listing', () => {
  it('orders by UTF-8 bytes, rolls up at a delimiter and continues after the last', async () => {
    for (const key of ['b', 'a/1', 'a/2', '\u{10000}', '\uffff'])
      await http.put(`/v1/objects/list/${encodeURIComponent(key)}`, 'x');
    const keys = (json: Record<string, unknown>) => (json.objects as { key: string }[]).map(({ key }) => key);
    const all = await http.ask('GET', '/v1/objects/list');
    expect(keys(all.json)).toEqual(['a/1', 'a/2', 'b', '\uffff', '\u{10000}']);
    const rolled = await http.ask('GET', '/v1/objects/list?delimiter=/&limit=2');
    expect([rolled.json.prefixes, keys(rolled.json)]).toEqual([['a/'], ['b']]);
    const rest = await http.ask('GET', `/v1/objects/list?delimiter=/&after=${rolled.json.next}`);
    expect([keys(rest.json), rest.json.next]).toEqual([['\uffff', '\u{10000}'], null]);
    expect(keys((await http.ask('GET', '/v1/objects/list?prefix=a%2F')).json)).toEqual(['a/1', 'a/2']);
  });

  it.each([
    ['docs?delimiter=', '"delimiter": at least 1 character is expected.'],
    ['docs?limit=0', '"limit": a whole number from 1 to 1000 is expected.'],
    ['docs/x?mode=newest', '"mode": one of preferred, confirmed_only, provisional_allowed is expected.'],
  ])('says of %s what is expected', async (target, detail) => {
    expect((await http.ask('GET', `/v1/objects/${target}`)).json).toMatchObject({ code: 'invalid_request', detail });
  });
});
