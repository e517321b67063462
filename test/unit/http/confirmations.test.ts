import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { HttpHarness } from '../../support/http-harness.ts';

let http: HttpHarness;
beforeAll(async () => {
  http = await HttpHarness.start();
});
afterAll(() => http.server.close());

describe('confirmations', () => {
  it('answer with the certificate', async () => {
    const { version } = (await http.put('/v1/objects/docs/a/plan', '1')).json;
    const asked = await http.ask('POST', '/v1/confirmations/docs/a%2Fplan');
    expect(asked.status).toBe(200);
    expect(asked.json).toMatchObject({ ns: 'docs', key: 'a/plan', version, state: 'confirmed', position: 1 });
    const named = await http.ask('POST', `/v1/confirmations/docs/a/plan?version=${version}`);
    expect(named.json).toEqual(asked.json);
  });

  it('say which version waits when there is no quorum', async () => {
    const { version } = (await http.put('/v1/objects/docs/cut', '1')).json;
    http.node.isQuorate = false;
    const asked = await http.ask('POST', '/v1/confirmations/docs/cut');
    http.node.isQuorate = true;
    expect([asked.status, asked.json.code, asked.json.version]).toEqual([503, 'quorum_unavailable', version]);
  });

  it.each([
    ['/v1/confirmations/docs/none', 'not_found'],
    ['/v1/confirmations/docs/a/plan?version=x', 'invalid_version'],
    [`/v1/confirmations/docs/a/plan?version=${'a'.repeat(52)}`, 'version_not_found'],
    ['/v1/confirmations/docs/a/plan?commit=quorum', 'invalid_request'],
    ['/v1/confirmations/docs/%ff', 'invalid_key'],
  ])('refuse %s as %s', async (path, code) => {
    expect((await http.ask('POST', path)).json.code).toBe(code);
  });

  it('are asked for with POST alone', async () => {
    expect((await http.ask('GET', '/v1/confirmations/docs/a/plan')).status).toBe(405);
  });
});
