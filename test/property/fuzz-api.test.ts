import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildOpenApi } from '../../src/http/openapi.ts';
import { HttpMesh, meshToken } from '../support/http-mesh.ts';
import { OpenApiChecker } from '../support/openapi-checker.ts';
import { runs } from '../support/property-runs.ts';

const checker = new OpenApiChecker(JSON.parse(JSON.stringify(buildOpenApi())));

interface Call {
  readonly method: string;
  readonly path: string;
  readonly pathNames: readonly string[];
  readonly queryNames: readonly string[];
  readonly bodies: readonly unknown[];
}

/** Every call there is. Events end when the client goes, so they are asked for in a test of their own. */
const calls: readonly Call[] = Object.entries(checker.document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).flatMap(([method, { parameters, requestBody }]): Call[] => {
    if (path === '/v1/events') return [];
    const named = (place: string): string[] => parameters.filter((each) => each.in === place).map(({ name }) => name);
    const media = Object.values(requestBody?.content ?? {});
    const bodies = media.flatMap(({ examples }) => Object.values(examples).map(({ value }) => value));
    return [{ method: method.toUpperCase(), path, pathNames: named('path'), queryNames: named('query'), bodies }];
  }),
);

let mesh: HttpMesh;
let known: { readonly nodeId: string; readonly version: string };

/** A whole node of its own, with an object and nothing else. */
beforeAll(async () => {
  mesh = await HttpMesh.start(1);
  const [node] = mesh.nodes;
  if (node === undefined) throw new Error('there is no node');
  const { version } = await node.client.put('docs', 'a', Buffer.from('text'));
  known = { nodeId: (await node.client.status()).nodeId, version };
});
afterAll(() => mesh.stop());

const hash = 'a'.repeat(52);
const nodeId = 'a'.repeat(26);
const hostile = fc.oneof(
  fc.constantFrom('', '0', '-1', '1.5', '1e3', '99999999999999999999', 'NaN', 'null', '[]', '{}', 'true', '*'),
  fc.constantFrom(
    '__proto__',
    'constructor',
    'toString',
    '..',
    '.',
    'a/../b',
    '\u0000',
    '\ud83d\ude00',
    'ä',
    'a b',
    '%',
  ),
  fc.constantFrom('docs', 'tour', 'DOCS', 'a', 'a/b', 'preferred', 'quorum', 'local', 'n1', 'cluster', hash, nodeId),
  fc.constantFrom(
    `due.1.2.${hash}.${nodeId}.${hash}`,
    `${hash}.${hash}`,
    `waiting.-1.2.${hash}.${nodeId}.${hash}`,
    '...',
  ),
  fc.constantFrom(`${hash},${hash}`, `"${hash}"`, ',', 'x'.repeat(1_025), 'x'.repeat(5_000)),
  fc.string({ maxLength: 12, unit: 'grapheme' }),
);
/** A value that this node knows, or any. */
const value = fc.oneof({ weight: 5, arbitrary: hostile }, fc.constantFrom('its node', 'its version')).map((text) => ({
  text,
  toString: () => (text === 'its node' ? known.nodeId : text === 'its version' ? known.version : text),
}));
const encoded = (given: { toString(): string }): string => encodeURIComponent(String(given).toWellFormed());

const junk = fc.oneof(
  fc.jsonValue({ maxDepth: 2 }),
  fc.constantFrom(null, -1, 0.5, 2 ** 53, '', '__proto__', [], {}, hash, nodeId, 'x'.repeat(2_000)),
);

/** JSON with something else in some place of it, or one more or one less. */
function spoiled(json: unknown, place: number, put: unknown, isGone: boolean): unknown {
  if (typeof json !== 'object' || json === null) return put;
  const entries = Object.entries(json);
  if (entries.length === 0) return put;
  const [name, held] = entries[place % entries.length] as [string, unknown];
  const isDeep = typeof held === 'object' && held !== null && place % 3 > 0;
  const changed = isDeep ? spoiled(held, Math.trunc(place / 3), put, isGone) : put;
  const rest = entries.filter(([each]) => each !== name);
  const next = isGone && !isDeep ? rest : [...rest, [name, changed] as const];
  if (Array.isArray(json)) return next.map(([, each]) => each);
  return Object.fromEntries(place % 7 === 0 ? [...next, ['more', put]] : next);
}

const bodyOf = ({ bodies }: Call): fc.Arbitrary<string | undefined> => {
  if (bodies.length === 0) return fc.constantFrom(undefined, undefined, '{}');
  const some = fc.constantFrom(...bodies);
  return fc.oneof(
    some.map((body) => JSON.stringify(body)),
    fc.tuple(some, fc.nat(1_000), junk, fc.boolean()).map(([body, ...rest]) => JSON.stringify(spoiled(body, ...rest))),
    junk.map((body) => JSON.stringify(body)),
    fc.constantFrom('', '{', '[[[[', '{"__proto__":{"a":1}}', '{"a":1,"a":2}', '\u0000', '"'),
  );
};

const anyCall = fc.constantFrom(...calls).chain((call) =>
  fc.record({
    call: fc.constant(call),
    path: fc.array(value, { minLength: call.pathNames.length, maxLength: call.pathNames.length }),
    query: fc.array(
      fc.tuple(fc.oneof({ weight: 9, arbitrary: fc.constantFrom('none', ...call.queryNames) }, hostile), value),
      { maxLength: 3 },
    ),
    body: bodyOf(call),
    key: fc.option(value, { freq: 4 }),
  }),
);

/** Sends a request whose target is exactly this, and reads the answer. */
async function send(
  method: string,
  target: string,
  { headers = {}, body }: { readonly headers?: Readonly<Record<string, string>>; readonly body?: string | undefined },
): Promise<IncomingMessage> {
  const [node] = mesh.nodes;
  const { hostname, port } = new URL(node?.url ?? '');
  const authorization = `Bearer ${meshToken}`;
  const asked = request({ agent: false, hostname, port, method, path: target, headers: { authorization, ...headers } });
  asked.end(body);
  const [answer] = (await once(asked, 'response')) as [IncomingMessage];
  return answer;
}

async function textOf(answer: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of answer) parts.push(part as Buffer);
  return Buffer.concat(parts).toString();
}

test('every call is answered as the document says, whatever is in its path, its query and its body', async () => {
  const statuses = new Set<number>();
  await fc.assert(
    fc.asyncProperty(anyCall, async ({ call, path, query, body, key }) => {
      const filled = call.pathNames.reduce((at, name, index) => {
        return at.replace(`{${name}}`, () => encoded(path[index] ?? ''));
      }, call.path);
      const pairs = query.map(([name, given]) => `${encoded(name)}=${encoded(given)}`);
      const target = pairs.length === 0 ? filled : `${filled}?${pairs.join('&')}`;
      const type = body === undefined ? {} : { 'content-type': 'application/json' };
      const idempotency = key === null ? {} : { 'idempotency-key': encoded(key) };
      const answer = await send(call.method, target, { headers: { ...type, ...idempotency }, body });
      const text = await textOf(answer);
      const status = answer.statusCode ?? 0;
      expect([500, 502], `${call.method} ${target} ${body}: ${text}`).not.toContain(status);
      checker.check(call.method, target, { status, type: answer.headers['content-type'] ?? null, body: text });
      statuses.add(status);
    }),
    runs(8),
  );
  // It was not all refused at the door.
  expect([...statuses]).toEqual(expect.arrayContaining([200, 400, 404]));
  expect((await send('GET', '/healthz', {})).statusCode).toBe(200);
});

test('events are resumed after a number or refused, whatever number is given', async () => {
  await fc.assert(
    fc.asyncProperty(hostile, fc.boolean(), async (given, isInQuery) => {
      const headers = isInQuery ? {} : { 'last-event-id': encodeURIComponent(given.toWellFormed()) };
      const answer = await send('GET', `/v1/events${isInQuery ? `?after=${encoded(given)}` : ''}`, { headers });
      expect([200, 400]).toContain(answer.statusCode);
      answer.destroy();
    }),
    runs(0.5),
  );
});
