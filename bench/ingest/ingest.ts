import { createReadStream, createWriteStream } from 'node:fs';
import { mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type RunningProcess, withNodes } from '../../test/support/node-processes.ts';
import { type BenchCase, benchCase, median } from '../support/cases.ts';
import { generatedBytes, mebibyte } from '../support/data.ts';

const fileBytes = 1_024 * mebibyte;
const rounds = 3;

/** How fast one large object goes in over HTTP, beside copying the same file with fsync. */
export async function benchIngest(say: (text: string) => void): Promise<BenchCase[]> {
  const dir = await mkdtemp(join(tmpdir(), 'anabranch-bench-file-'));
  try {
    const put: number[] = [];
    const copied: number[] = [];
    // The same node all along: removing thousands of files after a round would slow the next one's making of its own.
    await withNodes(1, async ([node]) => {
      for (let round = 0; round < rounds; round += 1) {
        // A fresh file a round: content that is stored already would cost no write.
        const path = join(dir, `file-${round}`);
        await writeFile(path, Readable.from(generatedBytes(fileBytes, round + 1)));
        say(`round ${round + 1} of ${rounds}: copying, then PUT`);
        copied.push(await rate(() => copyWithFsync(path, join(dir, 'copy'))));
        await rm(join(dir, 'copy'));
        put.push(await rate(() => putFile(node as RunningProcess, path)));
        await rm(path);
      }
    });
    return [
      benchCase({
        bench: 'ingest',
        case: '1 GiB through PUT',
        value: median(put),
        unit: 'MB/s',
        reference: { name: 'file copy with fsync', value: median(copied) },
        target: { of: 'ratio', atLeast: 0.25 },
      }),
    ];
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

async function putFile({ client }: RunningProcess, path: string): Promise<void> {
  const body = createReadStream(path, { highWaterMark: mebibyte });
  await client.put('bench', 'file', body, { size: fileBytes });
}

async function copyWithFsync(from: string, to: string): Promise<void> {
  await pipeline(createReadStream(from, { highWaterMark: mebibyte }), createWriteStream(to));
  const file = await open(to, 'r+');
  await file.sync();
  await file.close();
}

/** Megabytes a second. */
async function rate(run: () => Promise<void>): Promise<number> {
  const startMs = performance.now();
  await run();
  return fileBytes / 1e6 / ((performance.now() - startMs) / 1_000);
}
