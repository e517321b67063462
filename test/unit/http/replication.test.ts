import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { committed } from '../../../src/http/cluster-examples.ts';
import * as examples from '../../../src/http/replication-examples.ts';
import type { AuditOutcome, RefusalCode } from '../../../src/node/api.ts';
import { HttpHarness } from '../../support/http-harness.ts';

let http: HttpHarness;
beforeAll(async () => {
  http = await HttpHarness.start();
});
afterAll(() => http.server.close());
afterEach(() => {
  http.node.replication.asked.length = 0;
  http.node.replication.refusal = undefined;
  http.node.cluster.asked.length = 0;
});

const node = examples.drain.nodeId;
const post = (path: string, body: unknown) =>
  http.ask('POST', path, { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });

describe('the calls about replication', () => {
  it.each<[string, unknown]>([
    ['/v1/replication/placement?ns=team-docs&key=a%2Fb', { ns: 'team-docs', key: 'a/b' }],
    ['/v1/replication/plan', {}],
    ['/v1/replication/plan?after=x&limit=7', { after: 'x', limit: 7 }],
    ['/v1/replicas/team-docs/a/b%20c', { ns: 'team-docs', key: 'a/b c' }],
    [
      '/v1/replicas/team-docs/a?version=v&after=w&limit=3',
      { ns: 'team-docs', key: 'a', version: 'v', after: 'w', limit: 3 },
    ],
    [`/v1/nodes/${node}/drain`, node],
  ])('read what is asked for: GET %s', async (path, asked) => {
    expect((await http.ask('GET', path)).status).toBe(200);
    expect(http.node.replication.asked).toEqual([asked]);
  });

  it('tell how replication stands', async () => {
    expect((await http.ask('GET', '/v1/replication/status')).json).toEqual(examples.status);
  });

  it('preview every kind of change', async () => {
    const changes = [
      { kind: 'leave', nodeId: node },
      { kind: 'drain', nodeId: node },
      { kind: 'join', labels: { dc: 'a' }, capacity: 22 },
      { kind: 'join' },
      { kind: 'labels', nodeId: node, labels: {} },
      { kind: 'capacity', nodeId: node, capacity: 1 },
    ];
    for (const change of changes) {
      expect((await post('/v1/replication/preview', { change })).json).toEqual(examples.preview);
    }
    await post('/v1/replication/preview', { change: changes[0], after: 'x', limit: 5 });
    expect(http.node.replication.asked).toEqual([
      ...changes.map((change) => ({ change })),
      { change: changes[0], after: 'x', limit: 5 },
    ]);
  });

  it('have an audit made: 202 while it runs, 200 when it is done', async () => {
    http.node.replication.audits.push(examples.auditRuns as unknown as AuditOutcome);
    const runs = await http.ask('POST', '/v1/replication/audit');
    expect([runs.status, runs.json.complete]).toEqual([202, false]);
    const done = await http.ask('POST', '/v1/replication/audit?wait=30');
    expect([done.status, done.json.complete]).toEqual([200, true]);
    expect(http.node.replication.asked).toEqual([{ waitMs: 0 }, { waitMs: 30_000 }]);
  });

  it('answer 204 to a change that there is nothing of, and commit nothing', async () => {
    const [own] = http.node.nodes();
    expect((await http.ask('DELETE', `/v1/nodes/${own?.nodeId}/drain`)).status).toBe(204);
    expect((await http.ask('DELETE', `/v1/nodes/${own?.nodeId}/drain?sense=none`)).status).toBe(400);
    expect(http.node.cluster.asked).toEqual([]);
    const headers = { 'idempotency-key': committed.operationId };
    expect((await http.ask('DELETE', `/v1/nodes/${own?.nodeId}/drain`, { headers })).json).toEqual(committed);
  });

  it('drain a member and use it again by operations of the control log', async () => {
    const headers = { 'idempotency-key': committed.operationId };
    const drained = await http.ask('POST', `/v1/nodes/${node}/drain?reason=too%20old`, { headers });
    expect(drained.json).toEqual(committed);
    expect((await http.ask('DELETE', `/v1/nodes/${node}/drain`)).status).toBe(200);
    expect(http.node.cluster.asked).toEqual([
      {
        operation: { type: 'drain', nodeId: node, draining: true },
        actor: 'admin',
        reason: 'too old',
        operationId: committed.operationId,
      },
      { operation: { type: 'drain', nodeId: node, draining: false }, actor: 'admin' },
    ]);
  });

  it.each<[RefusalCode, number, string]>([
    ['coordinators_unavailable', 503, `/v1/nodes/${node}/drain`],
    ['unknown_node', 404, `/v1/nodes/${node}/drain`],
    ['not_found', 404, '/v1/replicas/team-docs/none'],
    ['metadata_unavailable', 503, '/v1/replicas/team-docs/none'],
    ['invalid_key', 400, '/v1/replication/placement?ns=docs&key=..'],
    ['invalid_request', 400, '/v1/replication/plan?after=x'],
  ])('end in %s with %i: %s', async (code, status, path) => {
    http.node.replication.refusal = { code, message: 'No.' };
    const answer = await http.ask('GET', path);
    expect([answer.status, answer.json.code]).toEqual([status, code]);
  });

  it.each([
    ['GET', '/v1/replication/placement?ns=docs'],
    ['GET', '/v1/replication/placement?ns=docs&key=a&more=1'],
    ['GET', '/v1/replication/plan?limit=0'],
    ['GET', '/v1/replication/status?x=1'],
    ['POST', '/v1/replication/audit?wait=31'],
    ['POST', '/v1/replication/audit?wait=long'],
  ])('refuse what they do not know: %s %s', async (method, path) => {
    expect((await http.ask(method, path)).json.code).toBe('invalid_request');
  });

  it.each([
    [{}],
    [{ change: { kind: 'explode', nodeId: node } }],
    [{ change: { kind: 'leave' } }],
    [{ change: { kind: 'capacity', nodeId: node, capacity: 65 } }],
    [{ change: { kind: 'leave', nodeId: node }, limit: 41 }],
    [{ change: { kind: 'leave', nodeId: node, more: 1 } }],
  ])('refuse a preview of what is no change: %j', async (body) => {
    expect((await post('/v1/replication/preview', body)).json.code).toBe('invalid_request');
    expect(http.node.replication.asked).toEqual([]);
  });
});
