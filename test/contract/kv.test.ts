import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openLmdbKv } from '../../src/adapters/lmdb/kv.ts';
import { MemoryKv } from '../../src/adapters/memory/kv.ts';
import { SeededRandom } from '../../src/adapters/memory/random.ts';
import { SystemClock } from '../../src/adapters/system/clock.ts';
import { kvContract } from './kv.contract.ts';

kvContract('lmdb', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'anabranch-kv.'));
  let kv = await openLmdbKv(directory);
  const first = kv;
  return {
    kv: first,
    restart: async () => {
      await kv.close();
      kv = await openLmdbKv(directory);
      return kv;
    },
    close: async () => {
      await kv.close();
      await rm(directory, { recursive: true });
    },
  };
});

kvContract('memory', async () => {
  const kv = new MemoryKv(new SystemClock());
  return { kv, restart: async () => kv.crash(new SeededRandom('kv contract')), close: async () => {} };
});

kvContract('memory with a slow disk', async () => {
  const kv = new MemoryKv(new SystemClock(), { flushDelayMs: 1 });
  return { kv, restart: async () => kv.crash(new SeededRandom('kv contract')), close: async () => {} };
});
