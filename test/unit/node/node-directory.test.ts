import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { decodeGenesis } from '../../../crdt/genesis.ts';
import { foundCluster } from '../../../src/init-directory.ts';
import { readNodeDirectory } from '../../../src/node-directory.ts';
import { prepareSwarm } from '../../../src/swarm/swarm-directory.ts';

let folder: string;
let dir: string;
let plain: Record<string, unknown>;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'anabranch-settings-'));
  dir = join(folder, 'one');
  const http = { host: '127.0.0.1', port: 7_400 };
  await foundCluster(dir, 'test', { name: 'one', http, listen: ['/ip4/127.0.0.1/tcp/7500'], addresses: [] });
  plain = JSON.parse(await readFile(join(dir, 'node.json'), 'utf8')) as Record<string, unknown>;
});
afterAll(() => rm(folder, { recursive: true }));

async function reading(settings: Readonly<Record<string, unknown>>) {
  await writeFile(join(dir, 'node.json'), JSON.stringify({ ...plain, ...settings }));
  return readNodeDirectory(dir);
}

describe('the file of a node', () => {
  test('sets every pace, limit and description by its own name, in the units that it says', async () => {
    const url = 'https://one.example:7400';
    const { content, membership, replication } = await reading({
      ...{ maxUpload: '1MiB', maxDownload: '2MiB', scrubDays: 2, scrubRate: '4MiB' },
      ...{ url, labels: { room: 'cellar' }, capacityBytes: 1_000, autoCapacity: false },
      ...{ heartbeatSeconds: 2, suspectAfterSeconds: 7, offlineAfterSeconds: 30 },
      ...{ repairDelaySeconds: 90, auditEverySeconds: 600 },
    });
    expect(content).toEqual({
      uploadBytesPerSecond: 1_048_576,
      downloadBytesPerSecond: 2_097_152,
      scrub: { periodMs: 172_800_000, bytesPerSecondMax: 4_194_304 },
    });
    expect(membership).toEqual({
      ...{ url, labels: { room: 'cellar' }, capacityBytes: 1_000, autoCapacity: false },
      ...{ heartbeatIntervalMs: 2_000, suspectAfterMs: 7_000, offlineAfterMs: 30_000 },
    });
    expect(replication).toEqual({ repairDelayMs: 90_000, auditEveryMs: 600_000 });
  });

  test('leaves what it does not say to the defaults, and has a node enter its capacity', async () => {
    const { content, membership, replication } = await reading({ autoCapacity: undefined });
    expect(content).toEqual({ uploadBytesPerSecond: undefined, downloadBytesPerSecond: undefined, scrub: {} });
    expect([membership, replication]).toEqual([{ autoCapacity: true }, {}]);
  });

  test.each([
    ['a heartbeat that is too fast', { heartbeatSeconds: 0.01 }, /heartbeatSeconds/],
    ['a delay of nothing', { repairDelaySeconds: 0 }, /repairDelaySeconds/],
    ['a rate that is none', { maxDownload: 'fast' }, /maxDownload/],
    ['a name that it does not know', { maxUplod: '1MiB' }, /maxUplod/],
  ])('is refused with the name of what is wrong: %s', async (_, settings, message) => {
    await expect(reading(settings)).rejects.toMatchObject({
      code: 'invalid_config',
      message: expect.stringMatching(message),
    });
  });
});

test('a swarm of five has three coordinators, in three places', async () => {
  const swarm = join(folder, 'swarm');
  await prepareSwarm(swarm, { nodes: 5, httpPort: 7_600 });
  const decoded = decodeGenesis(await readFile(join(swarm, 'peers.json'), 'utf8'));
  if (!decoded.ok) throw new Error(decoded.error);
  const { members } = decoded.value.genesis;
  expect(members.map(({ roles }) => roles?.includes('coordinator'))).toEqual([true, true, true, false, false]);
  expect(members.map(({ labels }) => labels?.dc)).toEqual(['dc1', 'dc2', 'dc3', 'dc1', 'dc2']);
});
