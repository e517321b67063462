import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { MeshEvent } from '../../../src/node/api.ts';
import { HttpHarness, type RawConnection } from '../../support/http-harness.ts';

let http: HttpHarness;
beforeEach(async () => {
  http = await HttpHarness.start({ eventStreamsMax: 2 });
});
afterEach(() => http.server.close());

const version = 'a'.repeat(52) as Extract<MeshEvent, { type: 'confirmed' }>['data']['version'];
const publish = (position: number): void =>
  http.node.publish({ type: 'confirmed', data: { ns: 'docs', key: 'a', version, position } });

async function listen(headers: Record<string, string> = {}): Promise<RawConnection> {
  const readers = http.node.eventReaders;
  const raw = await http.connect(http.head('GET', '/v1/events', headers));
  await raw.until(/: connected/);
  if (headers['last-event-id'] === undefined) await vi.waitFor(() => expect(http.node.eventReaders).toBe(readers + 1));
  return raw;
}

describe('/v1/events', () => {
  it('streams what happens from now on, each with id, event and data', async () => {
    publish(1);
    const raw = await listen();
    expect(raw.received).toMatch(/^HTTP\/1\.1 200 OK\r\ncontent-type: text\/event-stream/);
    publish(2);
    await raw.until(/position":2/);
    expect(raw.received).toContain(
      `id: 2\nevent: confirmed\ndata: ${JSON.stringify({ ns: 'docs', key: 'a', version, position: 2 })}\n\n`,
    );
    expect(raw.received).not.toContain('id: 1');
    raw.socket.destroy();
  });

  it('resumes after Last-Event-ID', async () => {
    for (const position of [1, 2, 3]) publish(position);
    const raw = await listen({ 'last-event-id': '1' });
    await raw.until(/id: 3/);
    expect(raw.received).toContain('id: 2\n');
    expect(raw.received).not.toContain('id: 1\n');
    raw.socket.destroy();
  });

  it.each(['x', '-1', '1.5', '99999999999999999999'])('refuses Last-Event-ID: %s', async (id) => {
    expect((await http.ask('GET', '/v1/events', { headers: { 'last-event-id': id } })).json.code).toBe(
      'invalid_request',
    );
  });

  it('sends a comment every 15 seconds', async () => {
    const raw = await listen();
    await http.clock.advance(15_000);
    await raw.until(/: heartbeat\n\n/);
    await http.clock.advance(15_000);
    await raw.until(/: heartbeat\n\n[\s\S]*: heartbeat\n\n/);
    raw.socket.destroy();
    await vi.waitFor(() => expect(http.clock.pendingTimers).toBe(0));
  });

  it('refuses more clients than its bound, and takes new ones when others have gone', async () => {
    const streams = [await listen(), await listen()];
    const refused = await http.ask('GET', '/v1/events');
    expect([refused.status, refused.json.code]).toEqual([503, 'too_many_streams']);
    streams[0]?.socket.destroy();
    await vi.waitFor(() => expect(http.node.eventReaders).toBe(1));
    streams.push(await listen());
    for (const { socket } of streams) socket.destroy();
  });

  it('reads no further ahead than a slow client does', async () => {
    let taken = 0;
    vi.spyOn(http.node, 'events').mockImplementation(async function* () {
      for (;;) {
        taken += 1;
        yield {
          id: taken,
          type: 'node',
          data: { nodeId: 'a'.repeat(26), name: 'x'.repeat(10_000), state: 'online', since: 1 },
        } as MeshEvent;
      }
    });
    const raw = await http.connect();
    raw.socket.pause();
    raw.send(http.head('GET', '/v1/events'));
    let before = 0;
    await vi.waitFor(() => {
      const stood = taken > 0 && taken === before;
      before = taken;
      expect(stood).toBe(true);
    });
    expect(taken * 10_000).toBeLessThan(64 * 1024 * 1024);
    raw.socket.destroy();
  });

  it('ends when the node ends it, so that the client resumes', async () => {
    vi.spyOn(http.node, 'events').mockImplementation(async function* () {});
    const raw = await http.connect(http.head('GET', '/v1/events', { connection: 'close' }));
    await raw.closed;
    expect(raw.received).toContain(': connected');
    raw.socket.destroy();
  });
});
