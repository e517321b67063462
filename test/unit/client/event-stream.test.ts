import { expect, it } from 'vitest';
import { parseEventStream, type StreamedEvent } from '../../../src/client/event-stream.ts';

async function parse(pieces: readonly Uint8Array[]): Promise<StreamedEvent[]> {
  async function* stream() {
    yield* pieces;
  }
  const parsed: StreamedEvent[] = [];
  for await (const event of parseEventStream(stream())) parsed.push(event);
  return parsed;
}

const text =
  ': hello\n\nid: 7\nevent: version\ndata: {"a":1}\n\nid: 8\r\nevent: conflict\r\ndata: one\r\ndata: zwö\r\n\r\n';
const events = [
  { id: '7', type: 'version', data: '{"a":1}' },
  { id: '8', type: 'conflict', data: 'one\nzwö' },
];

it('reads events wherever the stream is cut', async () => {
  const bytes = Buffer.from(text);
  expect(await parse([bytes])).toEqual(events);
  expect(await parse(Array.from(bytes, (byte) => Uint8Array.of(byte)))).toEqual(events);
  for (let cut = 1; cut < bytes.length; cut += 1) {
    expect(await parse([bytes.subarray(0, cut), bytes.subarray(cut)])).toEqual(events);
  }
});

it('drops an event that is not finished', async () => {
  expect(await parse([Buffer.from('data: half\n')])).toEqual([]);
});

it('refuses an event without end', async () => {
  const line = Buffer.from(`data: ${'x'.repeat(600_000)}\n`);
  await expect(parse([line, line])).rejects.toMatchObject({ code: 'bad_response' });
});
