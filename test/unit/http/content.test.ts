import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import * as examples from '../../../src/http/content-examples.ts';
import type { ContentScrub } from '../../../src/node/api.ts';
import { HttpHarness } from '../../support/http-harness.ts';

let http: HttpHarness;
beforeAll(async () => {
  http = await HttpHarness.start();
});
afterAll(() => http.server.close());
afterEach(() => {
  http.node.content.asked.length = 0;
  http.node.content.refusal = undefined;
});

const { hash } = examples.givenUp.dead[0] as { hash: string };

describe('the calls about content', () => {
  it('list what was given up, page by page', async () => {
    expect((await http.ask('GET', '/v1/content/dead')).json).toEqual(examples.givenUp);
    await http.ask('GET', `/v1/content/dead?after=${hash}&limit=7`);
    expect(http.node.content.asked).toEqual([{}, { after: hash, limit: 7 }]);
  });

  it('have one tried again, or all', async () => {
    expect((await http.ask('POST', `/v1/content/dead/retry?hash=${hash}`)).json).toEqual({ retried: 1 });
    expect((await http.ask('POST', '/v1/content/dead/retry')).status).toBe(200);
    expect(http.node.content.asked).toEqual([{ hash }, { hash: undefined }]);
    http.node.content.refusal = { code: 'not_found', message: 'No.' };
    expect((await http.ask('POST', `/v1/content/dead/retry?hash=${hash}`)).status).toBe(404);
  });

  it('tell of the scrub, and have one made: 202 while it runs, 200 when it is done', async () => {
    expect((await http.ask('GET', '/v1/content/scrub')).json).toEqual(examples.scrubDone);
    http.node.content.scrubs.push(examples.scrubRuns as ContentScrub);
    const runs = await http.ask('POST', '/v1/content/scrub');
    expect([runs.status, runs.json]).toEqual([202, examples.scrubRuns]);
    const done = await http.ask('POST', '/v1/content/scrub?wait=30');
    expect([done.status, done.json]).toEqual([200, examples.scrubDone]);
    expect(http.node.content.asked).toEqual([{ waitMs: 0 }, { waitMs: 30_000 }]);
  });

  it.each([
    ['GET', '/v1/content/dead?limit=0'],
    ['GET', '/v1/content/dead?hash=x'],
    ['POST', '/v1/content/dead/retry?all=1'],
    ['GET', '/v1/content/scrub?wait=1'],
    ['POST', '/v1/content/scrub?wait=31'],
  ])('refuse what they do not know: %s %s', async (method, path) => {
    expect((await http.ask(method, path)).json.code).toBe('invalid_request');
    expect(http.node.content.asked).toEqual([]);
  });
});
