import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { PutInput } from '../../../src/node/api.ts';
import { HttpHarness } from '../../support/http-harness.ts';

const path = '/v1/objects/docs/upload';
let http: HttpHarness;

beforeEach(async () => {
  http = await HttpHarness.start({ discardBytesMax: 1_000_000 });
});
afterEach(() => http.server.close());

/** What the node made of the last body it was handed: its bytes, or the error it ended in. */
function watchBody(): { bytes: number; error: unknown } {
  const seen: { bytes: number; error: unknown } = { bytes: 0, error: undefined };
  const put = http.node.put.bind(http.node);
  vi.spyOn(http.node, 'put').mockImplementation((input: PutInput) => {
    const body = (async function* () {
      try {
        for await (const chunk of input.body) {
          seen.bytes += chunk.length;
          yield chunk;
        }
      } catch (error) {
        seen.error = error;
        throw error;
      }
    })();
    return put({ ...input, body });
  });
  return seen;
}

describe('a body cut short', () => {
  it('is answered with incomplete_body when the client only stops sending', async () => {
    const raw = await http.connect(`${http.head('PUT', path, { 'content-length': 10 })}12345`);
    raw.socket.end();
    const answer = await raw.answer();
    expect([answer.status, answer.json.code, answer.headers.get('connection')]).toEqual([
      400,
      'incomplete_body',
      'close',
    ]);
    expect(answer.json.receivedBytes).toBe(5);
    expect(http.node.objects.size).toBe(0);
  });

  it('is answered with incomplete_body in the middle of a chunk', async () => {
    const raw = await http.connect(`${http.head('PUT', path, { 'transfer-encoding': 'chunked' })}a\r\n12345`);
    raw.socket.end();
    expect((await raw.answer()).json.code).toBe('incomplete_body');
    expect(http.node.objects.size).toBe(0);
  });

  it('is answered with incomplete_body when the chunks turn to nonsense', async () => {
    const raw = await http.connect(
      `${http.head('PUT', path, { 'transfer-encoding': 'chunked' })}5\r\n12345\r\nnonsense\r\n`,
    );
    expect((await raw.answer()).json.code).toBe('incomplete_body');
    expect(http.node.objects.size).toBe(0);
  });

  it('ends the node’s reading when the client is gone, and stores nothing', async () => {
    const seen = watchBody();
    const raw = await http.connect(`${http.head('PUT', path, { 'content-length': 10 })}12345`);
    await vi.waitFor(() => expect(seen.bytes).toBe(5));
    raw.socket.resetAndDestroy();
    await vi.waitFor(() => expect(seen.error).toMatchObject({ code: 'incomplete_body' }));
    expect(http.node.objects.size).toBe(0);
  });
});

describe('an upload', () => {
  it('is held back by a node that does not read', async () => {
    let release = (): void => {};
    const put = http.node.put.bind(http.node);
    vi.spyOn(http.node, 'put').mockImplementation(async (input) => {
      await new Promise<void>((resolve) => {
        release = resolve;
      });
      return put(input);
    });
    const sizeBytes = 32 * 1024 * 1024;
    const raw = await http.connect(http.head('PUT', path, { 'content-length': sizeBytes, connection: 'close' }));
    raw.send(Buffer.alloc(sizeBytes));
    let sentBytes = 0;
    await vi.waitFor(
      () => {
        const before = sentBytes;
        sentBytes = raw.socket.bytesWritten - raw.socket.writableLength;
        expect(sentBytes).toBeGreaterThan(0);
        expect(sentBytes).toBe(before);
      },
      { timeout: 5_000 },
    );
    expect(sentBytes).toBeLessThan(sizeBytes / 2);
    release();
    expect((await raw.answer()).json.size).toBe(sizeBytes);
  });

  it('whose bytes run over its Content-Length is stored as long as it said', async () => {
    const raw = await http.connect(`${http.head('PUT', path, { 'content-length': 5 })}12345 and more`);
    const answer = await raw.answer();
    expect([answer.status, answer.json.size]).toEqual([201, 5]);
  });

  it('gets its 100 Continue only when it is going to be read', async () => {
    const expecting = { 'content-length': 5, expect: '100-continue', connection: 'close' };
    const welcome = await http.connect(http.head('PUT', path, expecting));
    await welcome.until(/^HTTP\/1\.1 100 Continue\r\n\r\n/);
    welcome.send('12345');
    await welcome.until(/HTTP\/1\.1 201 Created/);
    const refused = await http.connect(http.head('PUT', path, { ...expecting, authorization: 'Bearer wrong' }));
    expect((await refused.answer()).status).toBe(401);
    const merge = { ...expecting, 'content-type': 'application/json' };
    const merging = await http.connect(http.head('POST', '/v1/merges/docs/upload', merge));
    await merging.until(/^HTTP\/1\.1 100 Continue\r\n\r\n/);
    merging.send('{"a":');
    expect(merging.received).not.toContain('HTTP/1.1 2');
    const impossible = await http.askRaw('PUT', path, { expect: 'a-miracle' });
    expect([impossible.status, impossible.json.code]).toEqual([417, 'expectation_failed']);
  });
});

describe('a refused upload', () => {
  it('is read to its end when that is near, so its client gets the answer and keeps the connection', async () => {
    const raw = await http.connect(http.head('PUT', `${path}?pretty`, { 'content-length': 500_000 }));
    await raw.until(/"invalid_request"/);
    raw.send(Buffer.alloc(500_000));
    raw.send(http.head('GET', '/v1/status', { connection: 'close' }));
    await raw.until(/"clusterName"/);
  });

  it('is cut when there is no end in sight', async () => {
    const raw = await http.connect(http.head('PUT', `${path}?pretty`, { 'content-length': 1e12 }));
    await raw.until(/"invalid_request"/);
    const flood = setInterval(() => raw.send(Buffer.alloc(200_000)), 1);
    await raw.closed;
    clearInterval(flood);
    raw.socket.destroy();
  });

  it('is dropped from where the node stopped reading', async () => {
    vi.spyOn(http.node, 'put').mockImplementation(async (input) => {
      for await (const _ of input.body) break;
      return { ok: false, error: { code: 'disk_full', message: 'There is no room left.' } };
    });
    const raw = await http.connect(http.head('PUT', path, { 'content-length': 500_000 }));
    raw.send(Buffer.alloc(100_000));
    await raw.until(/507/);
    raw.send(Buffer.alloc(400_000));
    raw.send(http.head('GET', '/v1/status', { connection: 'close' }));
    await raw.until(/"clusterName"/);
  });
});
