import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { MeshError } from '../../../src/ports/mesh-error.ts';
import { HttpHarness } from '../../support/http-harness.ts';

let http: HttpHarness;
beforeAll(async () => {
  http = await HttpHarness.start();
});
afterAll(() => http.server.close());
afterEach(() => vi.restoreAllMocks());

const json = { 'content-type': 'application/json' };

async function fork(key: string): Promise<string[]> {
  const first = await http.put(`/v1/objects/docs/${key}`, '1');
  const sides = [];
  for (const body of ['2', '3'])
    sides.push(await http.put(`/v1/objects/docs/${key}?parents=${first.json.version}`, body));
  return sides.map((side) => String(side.json.version)).sort();
}

describe('graphs', () => {
  it('show every version, parents first, and the heads', async () => {
    const heads = await fork('a/graph');
    const graph = await http.ask('GET', '/v1/graphs/docs/a%2Fgraph');
    expect(graph.json).toMatchObject({ heads, preferred: heads[1], confirmedHead: null });
    expect((graph.json.versions as { generation: number }[]).map(({ generation }) => generation)).toEqual([1, 2, 2]);
  });

  it('refuse parameters and unknown objects', async () => {
    expect((await http.ask('GET', '/v1/graphs/docs/a/graph?x=1')).json.parameters).toEqual(['x']);
    expect((await http.ask('GET', '/v1/graphs/docs/none')).json.code).toBe('not_found');
  });
});

describe('merges', () => {
  const merge = (key: string, body: unknown, query = '', headers: Record<string, string> = json) =>
    http.ask('POST', `/v1/merges/docs/${key}${query}`, {
      body: typeof body === 'string' ? body : JSON.stringify(body),
      headers,
    });

  it('join heads and adopt one side', async () => {
    const parents = await fork('merge');
    const merged = await merge('merge', { parents, pick: parents[0] });
    expect(merged.status).toBe(201);
    expect(merged.json).toMatchObject({ kind: 'merge', parents, conflict: false });
    expect(merged.headers.get('etag')).toBe(`"${merged.json.version}"`);
  });

  it('pass the commit mode on', async () => {
    const parents = await fork('merge-quorum');
    expect((await merge('merge-quorum', { parents, pick: parents[0] }, '?commit=quorum')).json.code).toBe(
      'quorum_unavailable',
    );
  });

  it.each([
    [{}, /parents/],
    [{ parents: [], pick: 'x' }, /parents/],
    [{ parents: 'x', pick: 'x' }, /parents/],
    [{ parents: ['x'] }, /pick/],
    [{ parents: ['x'], pick: 'x', extra: 1 }, /extra/],
    ['{"parents": [', /JSON/],
    ['', /JSON|object/],
    ['null', /^A body is needed: a JSON object, with Content-Type: application\/json\.$/],
    ['{"__proto__": 1, "parents": ["x"], "pick": "x"}', /JSON/],
  ])('refuse the body %j', async (body, detail) => {
    const answer = await merge('merge', body);
    expect([answer.status, answer.json.code]).toEqual([400, 'invalid_request']);
    expect(answer.json.detail).toMatch(detail);
  });

  it('say that a body is needed where there is none', async () => {
    const answer = await http.ask('POST', '/v1/merges/docs/merge');
    expect([answer.status, answer.json.detail]).toEqual([
      400,
      expect.stringMatching(/^A body is needed: a JSON object/),
    ]);
  });

  it('take JSON only, and not much of it', async () => {
    expect((await merge('merge', 'x', '', { 'content-type': 'text/plain' })).json.code).toBe('unsupported_media_type');
    expect((await merge('merge', { parents: ['x'.repeat(70_000)], pick: 'x' })).json.code).toBe('too_large');
  });

  it('answer a body cut short with incomplete_body', async () => {
    const raw = await http.connect(
      `${http.head('POST', '/v1/merges/docs/merge', { ...json, 'content-length': 50 })}{"par`,
    );
    raw.socket.end();
    const answer = await raw.answer();
    expect([answer.status, answer.json.code]).toEqual([400, 'incomplete_body']);
  });
});

describe('conflicts', () => {
  it('list objects with several heads, by namespace', async () => {
    const heads = await fork('conflict');
    const page = await http.ask('GET', '/v1/conflicts?ns=docs&limit=1000');
    expect(page.json.conflicts).toContainEqual({ ns: 'docs', key: 'conflict', heads, preferred: heads[1] });
    expect((await http.ask('GET', '/v1/conflicts?ns=other')).json).toEqual({ conflicts: [], next: null });
    expect((await http.ask('GET', '/v1/conflicts?limit=0')).status).toBe(400);
  });
});

describe('status, nodes and health', () => {
  it('show this node and the mesh', async () => {
    expect((await http.ask('GET', '/v1/status')).json).toMatchObject({ name: 'n1', ready: true });
    expect((await http.ask('GET', '/v1/nodes')).json.nodes).toHaveLength(1);
    expect((await http.ask('GET', '/v1/nodes?all')).status).toBe(400);
  });

  it('tell a node that runs from one that serves', async () => {
    http.node.isReady = false;
    expect((await http.ask('GET', '/healthz')).json).toEqual({ status: 'ok' });
    const ready = await http.ask('GET', '/readyz');
    expect([ready.status, ready.json.code]).toEqual([503, 'not_ready']);
    http.node.isReady = true;
    expect((await http.ask('GET', '/readyz')).json).toEqual({ status: 'ready' });
  });

  it('serve metrics in Prometheus’ text format, and count requests', async () => {
    const metrics = await http.ask('GET', '/metrics');
    expect(metrics.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
    const labels = { method: 'GET', route: '/metrics', status: '200' };
    await vi.waitFor(() => expect(http.metrics.value('anabranch_http_requests_total', labels)).toBe(1));
    await http.put('/v1/objects/docs/counted', 'four');
    expect(http.metrics.value('anabranch_http_content_received_bytes_total')).toBeGreaterThanOrEqual(4);
  });

  it('serve the OpenAPI document', async () => {
    expect((await http.ask('GET', '/openapi.json')).json).toMatchObject({
      openapi: '3.1.0',
      info: { title: 'Anabranch' },
    });
  });
});

describe('failures', () => {
  it('answer 500 without a word of what failed, and log it', async () => {
    vi.spyOn(http.node, 'graph').mockImplementation(() => {
      throw new TypeError('the secret path /var/lib');
    });
    const answer = await http.ask('GET', '/v1/graphs/docs/any');
    expect([answer.status, answer.json.code]).toEqual([500, 'internal']);
    expect(answer.text).not.toContain('secret');
    expect(http.log.linesOf('http:failed').at(-1)?.fields).toMatchObject({
      method: 'GET',
      error: expect.any(TypeError),
    });
  });

  it.each([
    ['disk_full', 507],
    ['shutting_down', 503],
    ['content_unavailable', 503],
    ['too_large', 413],
    ['incomplete_body', 400],
  ] as const)('answer a thrown %s with %i and a message of its own', async (code, status) => {
    vi.spyOn(http.node, 'put').mockRejectedValue(new MeshError(code, 'the secret path /var/lib'));
    const answer = await http.put('/v1/objects/docs/any', 'x');
    expect([answer.status, answer.json.code]).toEqual([status, code]);
    expect(answer.text).not.toContain('secret');
  });

  it('let no extra pass for a member every problem has', async () => {
    const detail = { status: 200, code: 'fine', heads: 1_000 };
    vi.spyOn(http.node, 'put').mockResolvedValue({
      ok: false,
      error: { code: 'too_many_heads', message: 'Too many.', detail },
    });
    const answer = await http.put('/v1/objects/docs/any', 'x');
    expect(answer.json).toEqual({
      type: 'urn:anabranch:problem:too_many_heads',
      title: 'The object has too many heads',
      status: 409,
      detail: 'Too many.',
      code: 'too_many_heads',
      heads: 1_000,
    });
  });
});
