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
