import { beforeEach, expect, test } from 'vitest';
import { VirtualClock } from '../../../src/adapters/memory/clock.ts';
import { MemoryKv } from '../../../src/adapters/memory/kv.ts';
import { MemoryLog } from '../../../src/adapters/memory/log.ts';
import { MemoryMetrics } from '../../../src/adapters/memory/metrics.ts';
import { DamageGauge } from '../../../src/node/content/damage-gauge.ts';
import { KvBatcher } from '../../../src/node/content/kv-batcher.ts';
import { MeshError } from '../../../src/ports/mesh-error.ts';

let kv: MemoryKv;
let batcher: KvBatcher;
let log: MemoryLog;
let gauge: DamageGauge;
let counted: number;
let failure: Error | undefined;

beforeEach(() => {
  kv = new MemoryKv(new VirtualClock());
  batcher = new KvBatcher(kv);
  log = new MemoryLog();
  [counted, failure] = [0, undefined];
  const counts = () => {
    if (failure !== undefined) throw failure;
    counted += 1;
    return { damaged: counted, incomplete: 0 };
  };
  gauge = new DamageGauge({ log, metrics: new MemoryMetrics(), batcher, counts });
});

const change = async (contents: number): Promise<void> => {
  await batcher.add(() => {
    for (let each = 0; each < contents; each += 1) gauge.changed();
  });
  await batcher.idle();
  await null;
};

test('what changes together is counted once, after it is on disk', async () => {
  await change(256);
  expect(counted).toBe(1);
  await change(1);
  expect(counted).toBe(2);
});

test('a store that closes meanwhile is no failure, and any other is told and ends nothing', async () => {
  failure = new MeshError('shutting_down', 'the store is closed');
  await change(1);
  expect(log.linesOf('content:damage_not_counted')).toEqual([]);
  failure = new MeshError('io_error', 'the disk is broken');
  await change(1);
  expect(log.linesOf('content:damage_not_counted')).toHaveLength(1);
  failure = undefined;
  await change(1);
  expect(counted).toBe(1);
});
