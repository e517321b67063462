import { type RunningProcess, watchMemory, withNodes } from '../../test/support/node-processes.ts';
import { type BenchCase, benchCase } from '../support/cases.ts';
import { generatedBytes, mebibyte } from '../support/data.ts';

const objectBytes = 4_096 * mebibyte;

/** The memory of two nodes while a 4 GiB object is put on one and read from the other. */
export async function benchMemory(say: (text: string) => void): Promise<BenchCase[]> {
  return withNodes(2, async (nodes) => {
    const [writer, reader] = nodes as readonly [RunningProcess, RunningProcess];
    const memory = watchMemory(nodes.flatMap(({ process }) => process.pid ?? []));
    say('putting 4 GiB on one node');
    const body = generatedBytes(objectBytes, 7);
    const written = await writer.client.put('bench', 'large', body, { size: objectBytes });
    say('reading it from the other');
    await untilThere(reader, written.version);
    let readBytes = 0;
    const found = await reader.client.get('bench', 'large');
    for await (const part of found.body) readBytes += part.length;
    if (readBytes !== objectBytes) throw new Error(`read ${readBytes} bytes of ${objectBytes}`);
    const highest = (await memory.stop()) / mebibyte;
    const target = { of: 'value', atMost: 400 } as const;
    return [
      benchCase({ bench: 'memory', case: '4 GiB put and read, highest RssAnon', value: highest, unit: 'MiB', target }),
    ];
  });
}

async function untilThere({ client }: RunningProcess, version: string): Promise<void> {
  for (let tries = 0; tries < 600; tries += 1) {
    const graph = await client.graph('bench', 'large').catch(() => undefined);
    if (graph?.versions.some((held) => held.version === version)) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error('the version did not reach the other node within 30 s');
}
