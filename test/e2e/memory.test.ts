import { expect, it } from 'vitest';
import { generatedBytes, mebibyte } from '../../bench/support/data.ts';
import { anonymousBytes, type RunningProcess, watchMemory, withNodes } from '../support/node-processes.ts';

const objectBytes = 768 * mebibyte;
const memoryBytesMax = 400 * mebibyte;

it.runIf(process.platform === 'linux')(
  'keeps the memory of writer and reader far below the size of an object that passes through them',
  async () => {
    await withNodes(2, async (nodes) => {
      const [writer, reader] = nodes as readonly [RunningProcess, RunningProcess];
      const pids = nodes.flatMap((node) => node.process.pid ?? []);
      for (const pid of pids) expect(await anonymousBytes(pid)).toBeGreaterThan(0);
      const memory = watchMemory(pids);
      const events = await reader.client.events({ signal: AbortSignal.timeout(90_000) });
      const body = generatedBytes(objectBytes, 11);
      const written = await writer.client.put('test', 'large', body, { size: objectBytes });
      for await (const event of events) if (event.type === 'replication') break;
      let readBytes = 0;
      const found = await reader.client.get('test', 'large', { version: written.version });
      for await (const part of found.body) readBytes += part.length;
      expect(readBytes).toBe(objectBytes);
      expect(found.b3).toBe(written.b3);
      expect(await memory.stop()).toBeLessThan(memoryBytesMax);
    });
  },
  120_000,
);
