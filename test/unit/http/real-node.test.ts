import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { blake3, toBase32, toHex } from '../../../crdt/digest.ts';
import { encodeGenesis } from '../../../crdt/genesis.ts';
import type { NodeId } from '../../../crdt/ids.ts';
import { peerIdOf, signerFromSeed } from '../../../crdt/signature.ts';
import { MemoryBlobStore } from '../../../src/adapters/memory/blob-store.ts';
import { MemoryKv } from '../../../src/adapters/memory/kv.ts';
import { MemoryLog } from '../../../src/adapters/memory/log.ts';
import { MemoryMetrics } from '../../../src/adapters/memory/metrics.ts';
import { MemoryHub } from '../../../src/adapters/memory/network.ts';
import { SeededRandom } from '../../../src/adapters/memory/random.ts';
import { InlineVerifier } from '../../../src/adapters/memory/verifier.ts';
import { SystemClock } from '../../../src/adapters/system/clock.ts';
import { composeNode } from '../../../src/compose.ts';
import type { MeshNode } from '../../../src/node/api.ts';
import { authorization, HttpHarness } from '../../support/http-harness.ts';

let http: HttpHarness<MeshNode>;

/** One whole node over in-memory adapters: what the fake one stands for in the other tests. */
beforeAll(async () => {
  const clock = new SystemClock();
  const random = new SeededRandom('http');
  const keySeed = random.bytes(32);
  const peerId = peerIdOf(signerFromSeed(keySeed).publicKey);
  const nodeId = toBase32(random.bytes(16)) as NodeId;
  const members = [{ name: 'n1', nodeId, peerId, addresses: [] }];
  const genesisText = encodeGenesis({ v: 1, cluster: 'test', seed: toBase32(random.bytes(16)), members });
  const kv = new MemoryKv(clock, { name: 'n1' });
  const network = new MemoryHub({ clock }).join(peerId);
  const rest = {
    blobs: new MemoryBlobStore(),
    verifier: new InlineVerifier(),
    log: new MemoryLog(),
    metrics: new MemoryMetrics(),
  };
  const node = composeNode({ clock, random, network, kv, ...rest }, { keySeed, genesisText, version: 'test' });
  await node.start();
  http = await HttpHarness.over(node);
});

afterAll(async () => {
  await http.server.close();
  await http.node.stop();
});

const unknownId = 'a'.repeat(52);
const ask = (method: string, path: string) => http.ask(method, path);

describe('the API over a whole node', () => {
  it('stores and gives back content of several chunks, whole and in part', async () => {
    const content = randomBytes(5_000_000);
    const put = await http.put('/v1/objects/docs/large.bin', content, { 'x-anabranch-meta-note': 'K%C3%A4se' });
    expect(put.json).toMatchObject({ size: content.length, b3: toHex(blake3(content)), conflict: false });
    const got = await fetch(`${http.server.url}/v1/objects/docs/large.bin`, {
      headers: { authorization },
    });
    expect(Buffer.from(await got.arrayBuffer()).equals(content)).toBe(true);
    expect(got.headers.get('x-anabranch-meta-note')).toBe('K%C3%A4se');
    const part = await fetch(`${http.server.url}/v1/objects/docs/large.bin`, {
      headers: { authorization, range: 'bytes=1999990-2000009' },
    });
    expect(Buffer.from(await part.arrayBuffer()).equals(content.subarray(1_999_990, 2_000_010))).toBe(true);
  });

  it.each(['', 'x'])('stores a body of %j', async (body) => {
    expect((await http.put('/v1/objects/docs/tiny?commit=quorum', body)).json.size).toBe(body.length);
    expect((await ask('GET', '/v1/objects/docs/tiny')).text).toBe(body);
  });

  it('shows a fork, its conflict and its merge', async () => {
    const first = await http.put('/v1/objects/docs/fork', '1');
    const sides: string[] = [];
    for (const body of ['2', '3']) {
      const side = await http.put('/v1/objects/docs/fork', body, { 'if-match': first.headers.get('etag') as string });
      sides.push(side.json.version as string);
    }
    expect((await ask('GET', '/v1/graphs/docs/fork')).json.heads).toEqual([...sides].sort());
    expect((await ask('GET', '/v1/conflicts?ns=docs')).json.conflicts).toHaveLength(1);
    const body = JSON.stringify({ parents: sides, pick: sides[0] });
    const headers = { 'content-type': 'application/json' };
    const merged = await http.ask('POST', '/v1/merges/docs/fork?commit=quorum', { body, headers });
    expect(merged.json).toMatchObject({ kind: 'merge', conflict: false, heads: [merged.json.version] });
    expect((await ask('GET', '/v1/objects/docs/fork')).text).toBe('2');
    expect((await ask('GET', '/v1/conflicts')).json.conflicts).toEqual([]);
  });

  it('tells of the content on its disk, and reads it again on demand', async () => {
    expect((await ask('GET', '/v1/content/dead')).json).toEqual({ dead: [], count: 0, next: null });
    expect((await ask('GET', '/v1/content/dead?after=nonsense')).json.code).toBe('invalid_request');
    expect((await ask('POST', '/v1/content/dead/retry')).json).toEqual({ retried: 0 });
    expect((await ask('POST', `/v1/content/dead/retry?hash=${unknownId}`)).json.code).toBe('not_found');
    expect((await ask('GET', '/v1/content/scrub')).json).toMatchObject({ running: false, last: null });
    const done = await ask('POST', '/v1/content/scrub?wait=30');
    expect([done.status, done.json]).toMatchObject([200, { running: false, last: { damaged: 0, incomplete: 0 } }]);
    expect((done.json.last as { bytes: number }).bytes).toBeGreaterThan(5_000_000);
  });

  it('lists, deletes and remembers', async () => {
    for (const key of ['b', 'a/1', 'a/2']) await http.put(`/v1/objects/list/${key}`, key);
    const listed = await ask('GET', '/v1/objects/list?delimiter=/');
    expect([listed.json.prefixes, (listed.json.objects as unknown[]).length]).toEqual([['a/'], 1]);
    const deleted = await ask('DELETE', '/v1/objects/list/b?commit=quorum');
    expect(deleted.json).toMatchObject({ kind: 'delete', size: null });
    expect((await ask('GET', '/v1/objects/list/b')).json.code).toBe('deleted');
    expect((await ask('DELETE', '/v1/objects/list/b')).json.code).toBe('deleted');
  });

  it('answers each refusal with its own code', async () => {
    await http.put('/v1/objects/docs/a', '1');
    const other = await http.put('/v1/objects/docs/b', '1');
    const codes = async (...asked: [string, string, number, string][]): Promise<void> => {
      for (const [method, path, status, code] of asked) {
        const answer = method === 'PUT' ? await http.put(path, 'x') : await ask(method, path);
        expect([answer.status, answer.json.code], `${method} ${path}`).toEqual([status, code]);
      }
    };
    await codes(
      ['PUT', '/v1/objects/Docs/a', 400, 'invalid_namespace'],
      ['PUT', `/v1/objects/docs/${'x'.repeat(1_025)}`, 400, 'invalid_key'],
      ['PUT', '/v1/objects/docs/a%00b', 400, 'invalid_key'],
      ['PUT', '/v1/objects/docs/a?parents=nonsense', 400, 'invalid_version'],
      ['PUT', `/v1/objects/docs/a?parents=${unknownId}`, 400, 'unknown_parent'],
      ['PUT', `/v1/objects/docs/a?parents=${other.json.version}`, 400, 'foreign_parent'],
      ['GET', '/v1/objects/docs/none', 404, 'not_found'],
      ['GET', '/v1/graphs/docs/none', 404, 'not_found'],
      ['GET', '/v1/objects/docs/a?version=nonsense', 400, 'invalid_version'],
      ['GET', `/v1/objects/docs/a?version=${unknownId}`, 404, 'version_not_found'],
      ['GET', '/v1/objects/no', 200, undefined as unknown as string],
      ['GET', '/v1/objects/N', 400, 'invalid_namespace'],
      ['GET', '/v1/conflicts?ns=N', 400, 'invalid_namespace'],
    );
  });

  it('stores nothing of a body cut short', async () => {
    const raw = await http.connect(`${http.head('PUT', '/v1/objects/docs/cut', { 'content-length': 10 })}12345`);
    raw.socket.end();
    expect((await raw.answer()).json.code).toBe('incomplete_body');
    expect((await ask('GET', '/v1/objects/docs/cut')).json.code).toBe('not_found');
  });

  it('refuses a type or metadata that no record can hold', async () => {
    const put = (headers: Record<string, string>) => http.put('/v1/objects/docs/labels', 'x', headers);
    for (const name of ['x-anabranch-meta-', 'x-anabranch-meta-a!', `x-anabranch-meta-${'a'.repeat(65)}`]) {
      expect([name, (await put({ [name]: 'x' })).json.code]).toEqual([name, 'invalid_request']);
    }
    expect((await put({ 'x-anabranch-meta-a': '%00' })).json.code).toBe('invalid_request');
  });

  it('streams events, resumed by number', async () => {
    const raw = await http.connect(http.head('GET', '/v1/events', { 'last-event-id': 0 }));
    await raw.until(/id: 1\nevent: version\ndata: \{.*"key":"large\.bin".*\}\n\n/);
    raw.socket.destroy();
  });

  it('shows its state', async () => {
    expect((await ask('GET', '/v1/status')).json).toMatchObject({ ready: true, name: 'n1', conflicts: 0 });
    expect((await ask('GET', '/v1/nodes')).json.nodes).toMatchObject([{ name: 'n1', self: true, state: 'online' }]);
    expect((await ask('GET', '/readyz')).json).toEqual({ status: 'ready' });
  });
});

describe('replication over a whole node', () => {
  const post = (path: string, body: unknown) =>
    http.ask('POST', path, { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });
  const own = async () => (await ask('GET', '/v1/status')).json.nodeId as string;

  it('tells who is to hold an object, and what of its policy cannot be met with one node', async () => {
    const { json } = await ask('GET', '/v1/replication/placement?ns=docs&key=alone');
    expect(json).toMatchObject({ desired: [{ name: 'n1', presence: 'online' }], substitutes: [] });
    expect(json.lacks).toMatchObject([
      {
        kind: 'replicas',
        placed: 1,
        message: expect.stringMatching(/can hold them$/),
        advice: expect.stringMatching(/^admit storage nodes/),
      },
    ]);
    expect((await ask('GET', '/v1/replication/placement?ns=docs&key=..')).json.code).toBe('invalid_key');
    expect((await ask('GET', '/v1/replication/placement?ns=D&key=a')).json.code).toBe('invalid_namespace');
  });

  it('lists the copies of every version, page by page, the newest first', async () => {
    const first = (await http.put('/v1/objects/docs/copied', 'one')).json.version;
    const second = (await http.put('/v1/objects/docs/copied', 'two')).json.version;
    const { json } = await ask('GET', '/v1/replicas/docs/copied?limit=1');
    expect(json).toMatchObject({
      versions: [
        {
          version: second,
          size: 3,
          holders: [{ name: 'n1', desired: true, proved: true, suspect: false }],
          missing: [],
        },
      ],
      next: second,
      unanswered: [],
    });
    const older = await ask('GET', `/v1/replicas/docs/copied?after=${second}`);
    expect(older.json).toMatchObject({ versions: [{ version: first }], next: null });
    expect((await ask('GET', `/v1/replicas/docs/copied?version=${first}`)).json.versions).toHaveLength(1);
    const removed = (await ask('DELETE', '/v1/objects/docs/copied')).json.version;
    expect((await ask('GET', `/v1/replicas/docs/copied?version=${removed}`)).json.code).toBe('deleted');
    expect((await ask('GET', '/v1/replicas/docs/copied')).json.versions).toHaveLength(2);
    for (const [path, code] of [
      ['none', 'not_found'],
      ['copied?version=x', 'invalid_version'],
      [`copied?version=${unknownId}`, 'version_not_found'],
      [`copied?after=${unknownId}`, 'invalid_request'],
      ['copied?limit=65', 'invalid_request'],
    ]) {
      expect((await ask('GET', `/v1/replicas/docs/${path}`)).json.code, path).toBe(code);
    }
  });

  it('audits on demand, and tells how replication stands by that', async () => {
    await http.put('/v1/objects/docs/audited', 'text');
    const audit = await ask('POST', '/v1/replication/audit?wait=30');
    expect(audit.json).toMatchObject({ complete: true, auditors: [{ name: 'n1', state: 'done' }], unanswered: [] });
    const { json } = await ask('GET', '/v1/replication/status');
    // One node cannot hold the copies that the default policy asks for.
    expect(json).toMatchObject({ complete: true, healthy: false, lastAudit: { name: 'n1' }, unanswered: [] });
    const { subjects, degraded } = json.totals as { subjects: number; degraded: number };
    expect([subjects > 0, degraded]).toEqual([true, subjects]);
    expect((await ask('GET', '/v1/replication/plan')).json).toEqual({ repairs: [], next: null, unanswered: [] });
    expect((await ask('GET', '/v1/replication/plan?after=x')).json.code).toBe('invalid_request');
  });

  it('previews what a node that joins would fetch, and refuses what is no member', async () => {
    const { json } = await post('/v1/replication/preview', { change: { kind: 'join' }, limit: 1 });
    expect(json.totals).toMatchObject({ degraded: expect.any(Number) });
    expect((json.totals as { copies: number }).copies).toBeGreaterThan(0);
    expect(json.moves).toHaveLength(1);
    const stranger = { kind: 'leave', nodeId: 'b'.repeat(26) };
    expect((await post('/v1/replication/preview', { change: stranger })).json.code).toBe('unknown_node');
    const labels = { kind: 'labels', nodeId: await own(), labels: { 'no label': 'x' } };
    expect((await post('/v1/replication/preview', { change: labels })).json.code).toBe('invalid_request');
    const after = { change: { kind: 'join' }, after: 'x' };
    expect((await post('/v1/replication/preview', after)).json.code).toBe('invalid_request');
  });

  it('drains a node, and does not call the last holder safe', async () => {
    const id = await own();
    expect((await ask('GET', `/v1/nodes/${id}/drain`)).json).toMatchObject({
      draining: false,
      safe: false,
      intents: 0,
    });
    expect((await ask('POST', `/v1/nodes/${id}/drain`)).status).toBe(200);
    const { json } = await ask('GET', `/v1/nodes/${id}/drain`);
    expect(json).toMatchObject({ name: 'n1', draining: true, safe: false, unanswered: [] });
    expect(json.remaining).toBe(json.contents);
    expect((await ask('DELETE', `/v1/nodes/${id}/drain`)).status).toBe(200);
    expect((await ask('GET', `/v1/nodes/${id}/drain`)).json.draining).toBe(false);
    expect((await ask('GET', `/v1/nodes/${'b'.repeat(26)}/drain`)).json.code).toBe('unknown_node');
  });
});
