import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { admitted, committed, genesis } from '../../../src/http/cluster-examples.ts';
import type { RefusalCode } from '../../../src/node/api.ts';
import { HttpHarness } from '../../support/http-harness.ts';

let http: HttpHarness;
beforeAll(async () => {
  http = await HttpHarness.start();
});
afterAll(() => http.server.close());
afterEach(() => {
  http.node.cluster.asked.length = 0;
  http.node.cluster.answer = { ok: true, value: committed };
});

const node = admitted.nodeId;
const json = { 'content-type': 'application/json' };
const send = (method: string, path: string, body?: unknown, headers: Record<string, string> = {}) =>
  http.ask(
    method,
    path,
    body === undefined ? { headers } : { headers: { ...json, ...headers }, body: JSON.stringify(body) },
  );

describe('a call that changes the cluster', () => {
  it.each([
    ['POST', '/v1/nodes', admitted, { type: 'admit', member: admitted }],
    ['DELETE', `/v1/nodes/${node}`, undefined, { type: 'remove', nodeId: node }],
    ['PUT', `/v1/nodes/${node}/roles`, { roles: ['storage'] }, { type: 'roles', nodeId: node, roles: ['storage'] }],
    ['PUT', `/v1/nodes/${node}/labels`, { labels: { dc: 'a' } }, { type: 'labels', nodeId: node, labels: { dc: 'a' } }],
    [
      'PUT',
      `/v1/nodes/${node}/addresses`,
      { addresses: ['/ip4/10.0.0.7/tcp/7400'] },
      { type: 'addresses', nodeId: node, addresses: ['/ip4/10.0.0.7/tcp/7400'] },
    ],
    ['PUT', `/v1/nodes/${node}/capacity`, { capacity: 22 }, { type: 'capacity', nodeId: node, capacity: 22 }],
    [
      'PUT',
      '/v1/namespaces/docs',
      { policy: { replicas: 2 } },
      { type: 'namespace', ns: 'docs', policy: { replicas: 2 } },
    ],
    [
      'PUT',
      '/v1/configuration/group%2Fa',
      { values: { a: 1 } },
      { type: 'configuration', scope: 'group/a', values: { a: 1 } },
    ],
    ['PUT', '/v1/configuration/group/a', { values: {} }, { type: 'configuration', scope: 'group/a', values: {} }],
  ])('is an operation of the control log: %s %s', async (method, path, body, operation) => {
    const key = { 'idempotency-key': committed.operationId };
    const answer = await send(method, `${path}?reason=because%20of%20it`, body, key);
    expect(answer.status).toBe(200);
    expect(answer.json).toEqual(committed);
    const { operationId } = committed;
    expect(http.node.cluster.asked).toEqual([{ operation, actor: 'admin', reason: 'because of it', operationId }]);
  });

  it('takes roles, labels and addresses for granted when a node is admitted without', async () => {
    const { name, nodeId, peerId } = admitted;
    await send('POST', '/v1/nodes', { name, nodeId, peerId });
    expect(http.node.cluster.asked[0]?.operation).toEqual({
      type: 'admit',
      member: { name, nodeId, peerId, addresses: [], roles: ['storage'], labels: {} },
    });
  });

  it.each<[RefusalCode, number]>([
    ['quorum_unavailable', 503],
    ['unknown_outcome', 504],
    ['carry_over_running', 409],
    ['operation_reused', 409],
    ['unknown_node', 404],
  ])('ends in %s with %i, and says its operation id', async (code, status) => {
    const { operationId } = committed;
    http.node.cluster.answer = { ok: false, error: { code, message: 'No.', detail: { operationId } } };
    const answer = await send('DELETE', `/v1/nodes/${node}`);
    expect(answer.status).toBe(status);
    expect(answer.json).toMatchObject({ code, operationId });
  });

  it('that comes before the last one is carried over is told how far that is', async () => {
    const detail = { operationId: committed.operationId, progress: { epoch: 2, done: 12, total: 31 } };
    http.node.cluster.answer = { ok: false, error: { code: 'carry_over_running', message: 'No.', detail } };
    const answer = await send('PUT', `/v1/nodes/${node}/roles`, { roles: ['coordinator'] });
    expect(answer.json).toMatchObject({ status: 409, code: 'carry_over_running', ...detail });
  });

  it.each([
    ['POST', '/v1/nodes', {}],
    ['POST', '/v1/nodes', { ...admitted, more: 1 }],
    ['PUT', `/v1/nodes/${node}/roles`, { roles: ['king'] }],
    ['PUT', `/v1/nodes/${node}/capacity`, { capacity: 65 }],
    ['PUT', `/v1/nodes/${node}/capacity`, { capacity: '1TB' }],
    ['PUT', `/v1/nodes/${node}/addresses`, { addresses: '/ip4/10.0.0.7/tcp/7400' }],
    ['PUT', '/v1/namespaces/docs', { replicas: 2 }],
    ['PUT', '/v1/configuration/cluster', []],
    ['PUT', '/v1/namespaces/docs?because=x', { policy: {} }],
  ])('is not made with what it does not know: %s %s %j', async (method, path, body) => {
    expect((await send(method, path, body)).json.code).toBe('invalid_request');
    expect(http.node.cluster.asked).toEqual([]);
  });

  it('is not made under an id that can be none, without a token, or with another type of body', async () => {
    const short = await send('DELETE', `/v1/nodes/${node}`, undefined, { 'idempotency-key': 'short' });
    expect(short.json).toMatchObject({ code: 'invalid_request' });
    expect((await send('DELETE', `/v1/nodes/${node}`, undefined, { authorization: 'Bearer no' })).status).toBe(401);
    const text = await http.ask('POST', '/v1/nodes', { headers: { 'content-type': 'text/plain' }, body: '{}' });
    expect(text.json.code).toBe('unsupported_media_type');
    expect(http.node.cluster.asked).toEqual([]);
  });
});

describe('what the cluster has decided', () => {
  it.each([
    '/v1/control-log',
    '/v1/control-log?after=0&limit=5',
    '/v1/control-log/checkpoint',
    '/v1/control-log/proof?seq=1&size=2',
    '/v1/control-log/consistency?first=1',
    '/v1/namespaces',
    '/v1/namespaces/docs',
    '/v1/configuration',
    '/v1/configuration/cluster',
    '/v1/configuration/group/a',
    '/v1/control-log/carry-over',
  ])('is read as the document says: %s', async (path) => {
    expect((await http.ask('GET', path)).status).toBe(200);
  });

  it('has no values for a scope in which nothing is set', async () => {
    expect((await http.ask('GET', '/v1/configuration/group%2Fa')).json).toEqual({ scope: 'group/a', values: {} });
  });

  it('begins with the genesis entry, byte by byte', async () => {
    expect((await http.ask('GET', '/v1/control-log/genesis')).text).toBe(JSON.stringify(genesis));
  });

  it.each([
    '/v1/control-log/proof',
    '/v1/control-log/consistency',
    '/v1/control-log?after=-1',
    '/v1/control-log?limit=0',
  ])('is not read without what is needed: %s', async (path) => {
    expect((await http.ask('GET', path)).json.code).toBe('invalid_request');
  });
});
