import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { HttpHarness } from '../support/http-harness.ts';
import { runs } from '../support/property-runs.ts';

let harness: HttpHarness;
beforeAll(async () => {
  harness = await HttpHarness.start();
});
afterAll(() => harness.server.close());

/** Characters that mean something in a request's first line, and some that never may be in it. */
const pathPiece = fc.oneof(
  fc.constantFrom(
    '/v1/objects/',
    '/v1/graphs/',
    '/v1/merges/',
    '/v1/conflicts',
    '/v1/events',
    'docs',
    '..',
    '.',
    '%2F',
  ),
  fc.constantFrom('%', '%zz', '%00', '%ff', '?', '&', '=', '#', '//', 'mode=', 'version=', 'parents=', 'limit=-1', 'ä'),
  fc.string({ maxLength: 8 }).map((text) => text.replace(/[\s\0]/g, '_')),
);
const path = fc.array(pathPiece, { maxLength: 8 }).map((pieces) => `/${pieces.join('')}`.replace(/^\/\/+/, '/'));
const headerValue = fc
  .oneof(
    fc.constantFrom('bytes=0-', 'bytes=9-1', '"a"', 'W/"', '*', '-1', '999999999999999999999', ''),
    fc.string({ maxLength: 20 }),
  )
  .map((text) => text.replace(/[^\x20-\x7e]/g, '?'));
const headers = fc.dictionary(
  fc.constantFrom(
    'range',
    'if-match',
    'if-none-match',
    'if-range',
    'last-event-id',
    'x-anabranch-meta-a',
    'content-type',
  ),
  headerValue,
  { maxKeys: 3 },
);

test('a request of any shape is answered, and never with a fault of the server', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom('GET', 'HEAD', 'PUT', 'DELETE', 'POST'),
      path,
      headers,
      async (method, target, extra) => {
        // Live events end when the client goes, so they are not asked for here.
        fc.pre(!target.startsWith('/v1/events'));
        const raw = await harness.connect(
          harness.head(method, encodeURI(target).replaceAll('%25', '%'), {
            connection: 'close',
            'content-length': 0,
            ...extra,
          }),
        );
        const { status } = await raw.answer();
        expect(status).toBeGreaterThanOrEqual(200);
        expect([500, 502]).not.toContain(status);
      },
    ),
    runs(3),
  );
});

/** Bodies that are the JSON a merge takes, nearly so, or anything. */
const mergeBody = fc.oneof(
  fc.json(),
  fc
    .record(
      {
        parents: fc.array(fc.oneof(fc.constantFrom('a'.repeat(52), 'b'.repeat(52)), fc.string()), { maxLength: 4 }),
        pick: fc.oneof(fc.constantFrom('a'.repeat(52)), fc.jsonValue()),
      },
      { requiredKeys: [] },
    )
    .map((body) => JSON.stringify(body)),
  fc.constantFrom('{', '{"parents":[', '[[[[', '{"__proto__":{"a":1}}', '{"constructor":{"prototype":{}}}', '\u0000'),
  fc.string(),
);

test('a body of any kind is answered, and never with a fault of the server', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom('PUT /v1/objects/docs/a', 'POST /v1/merges/docs/a', 'DELETE /v1/objects/docs/a'),
      fc.oneof(mergeBody, fc.uint8Array({ maxLength: 300 })),
      fc.constantFrom('application/json', 'text/plain', 'application/json; charset=utf-16', 'x'),
      // A length that is too small leaves bytes over for the next request; one that is too large cuts the body short.
      fc.constantFrom(-1, 0, 0, 0, 1, 7),
      async (target, body, type, lengthOff) => {
        const [method, path] = target.split(' ') as [string, string];
        const bytes = Buffer.from(body);
        const headers = { 'content-type': type, 'content-length': Math.max(0, bytes.length + lengthOff) };
        const raw = await harness.connect(harness.head(method, path, { connection: 'close', ...headers }));
        raw.send(bytes);
        raw.socket.end();
        await raw.closed;
        const text = raw.received;
        raw.socket.destroy();
        // Nothing is owed to a request that never came whole.
        if (text !== '' || lengthOff <= 0) expect(text).toMatch(/^HTTP\/1\.1 (?!500|502)[2-5]\d\d /);
        expect((await harness.ask('GET', '/healthz')).status).toBe(200);
      },
    ),
    runs(2),
  );
});

test('bytes that are no request end the connection and nothing else', async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 200 }), async (bytes) => {
      const raw = await harness.connect(bytes);
      raw.socket.end();
      await raw.closed;
      raw.socket.destroy();
      expect((await harness.ask('GET', '/healthz')).status).toBe(200);
    }),
    runs(0.5),
  );
});
