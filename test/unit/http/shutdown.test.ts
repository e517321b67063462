import { describe, expect, it, vi } from 'vitest';
import { HttpHarness } from '../../support/http-harness.ts';

const path = '/v1/objects/docs/upload';

describe('close', () => {
  it('lets a request in flight finish and tells its client to close', async () => {
    const http = await HttpHarness.start();
    const puts = vi.spyOn(http.node, 'put');
    const raw = await http.connect(`${http.head('PUT', path, { 'content-length': 10 })}12345`);
    await vi.waitFor(() => expect(puts).toHaveBeenCalled());
    const closed = http.server.close();
    raw.send('67890');
    expect((await raw.answer()).status).toBe(201);
    await closed;
  });

  it('closes idle connections at once and accepts no new ones', async () => {
    const http = await HttpHarness.start();
    const idle = await http.connect(http.head('GET', '/v1/status'));
    await idle.until(/"clusterName"/);
    await http.server.close();
    await idle.closed;
    await expect(http.connect()).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    idle.socket.destroy();
  });

  it('ends event streams', async () => {
    const http = await HttpHarness.start();
    const raw = await http.connect(http.head('GET', '/v1/events'));
    await raw.until(/: connected/);
    await http.server.close();
    await raw.closed;
    expect(raw.received).toMatch(/\r\n0\r\n\r\n$/);
    raw.socket.destroy();
  });

  it('answers what still arrives on a busy connection with shutting_down', async () => {
    const http = await HttpHarness.start();
    const puts = vi.spyOn(http.node, 'put');
    const raw = await http.connect(`${http.head('PUT', path, { 'content-length': 1 })}`);
    await vi.waitFor(() => expect(puts).toHaveBeenCalled());
    const closed = http.server.close();
    raw.send(`x${http.head('GET', '/v1/status')}`);
    await raw.closed;
    await closed;
    expect(raw.received).toContain('201 Created');
    raw.socket.destroy();
  });

  it('cuts what has not finished within its bound', async () => {
    const http = await HttpHarness.start();
    const puts = vi.spyOn(http.node, 'put');
    const raw = await http.connect(`${http.head('PUT', path, { 'content-length': 10 })}12345`);
    await vi.waitFor(() => expect(puts).toHaveBeenCalled());
    let isClosed = false;
    const closed = http.server.close().then(() => {
      isClosed = true;
    });
    await http.clock.advance(1_900);
    expect(isClosed).toBe(false);
    await http.clock.advance(200);
    await closed;
    await raw.closed;
    expect(http.node.objects.size).toBe(0);
    raw.socket.destroy();
  });
});
