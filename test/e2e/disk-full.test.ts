import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { ApiError } from '../../src/client/api-error.ts';
import { AnabranchClient } from '../../src/client/http-client.ts';
import { NodeProcess, serveCommand } from '../../src/swarm/node-process.ts';
import { chooseFreePorts } from '../../src/swarm/ports.ts';
import { prepareSwarm } from '../../src/swarm/swarm-directory.ts';
import { runInProcess } from '../support/run-cli.ts';
import { canMountFileSystems, mountSmallFileSystem, type SmallFileSystem } from '../support/small-file-system.ts';

const mebibyte = 1024 * 1024;
const diskBytes = 32 * mebibyte;
const largeBytes = mebibyte;
const smallBytes = 2_000;
/** Writes refused in a row after which the disk counts as full for writes of that size. */
const refusedInRow = 5;
/** Enough to fill the disk several times over. */
const writesMax = 50_000;
const patience = { timeout: 60_000, interval: 200 };

interface Acknowledged {
  readonly key: string;
  readonly version: string;
  readonly b3: string | null;
}

interface SmallNode {
  readonly client: AnabranchClient;
  readonly process: NodeProcess;
  readonly disk: SmallFileSystem;
  readonly url: string;
  readonly token: string;
}

/** Runs something on a node all of whose directory is on a disk of its own. */
async function withSmallNode(run: (node: SmallNode) => Promise<void>): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), 'anabranch-full-'));
  const mountPoint = join(dir, 'disk');
  await mkdir(mountPoint);
  const disk = await mountSmallFileSystem(mountPoint, diskBytes);
  let process: NodeProcess | undefined;
  let client: AnabranchClient | undefined;
  try {
    const [httpPort = 0] = await chooseFreePorts(1, []);
    const [node] = (await prepareSwarm(join(mountPoint, 'swarm'), { nodes: 1, httpPort })).nodes;
    if (node === undefined) throw new Error('there is no node');
    process = new NodeProcess({ onChange: () => undefined }, { node, command: serveCommand() });
    await process.start(new AbortController().signal);
    client = new AnabranchClient({ url: node.url, token: node.token });
    await run({ client, process, disk, url: node.url, token: node.token });
  } finally {
    client?.close();
    await process?.stop();
    await disk.close();
    await rm(dir, { recursive: true, force: true });
  }
}

/** Writes contents of a size until several in a row are refused, each for want of room and for nothing else. */
async function fill(client: AnabranchClient, bytes: number, acknowledged: Acknowledged[]): Promise<void> {
  let refused = 0;
  for (let index = 0; refused < refusedInRow; index += 1) {
    if (index > writesMax) throw new Error('the disk is never full');
    const key = index % 7 === 0 ? `again-${bytes}` : `filling-${bytes}/${index}`;
    const written = await write(client, key, bytes);
    if (written === 'disk_full') refused += 1;
    else {
      refused = 0;
      acknowledged.push(written);
    }
  }
}

async function write(client: AnabranchClient, key: string, bytes: number): Promise<Acknowledged | 'disk_full'> {
  try {
    const { version, b3 } = await client.put('test', key, randomBytes(bytes), { size: bytes });
    return { key, version, b3 };
  } catch (error) {
    if (error instanceof ApiError && error.code === 'disk_full') return 'disk_full';
    throw error;
  }
}

/** The client checks each content against the hash that the node names; the test checks it against the acknowledgement's. */
async function readBack(client: AnabranchClient, acknowledged: readonly Acknowledged[]): Promise<void> {
  for (const { key, version, b3 } of acknowledged) {
    const found = await client.get('test', key, { version });
    for await (const _ of found.body);
    expect(found.b3).toBe(b3);
  }
}

// Faults that are injected reach no other process. Where nothing can be mounted, disks are filled up so in the tests of the blob
// store and of LMDB, and under whole nodes in the simulator (`fillDisk`).
it.runIf(await canMountFileSystems())(
  'a node whose disk is full refuses writes as such, goes on reading, loses nothing, and recovers once there is room',
  {
    timeout: 300_000,
  },
  async () => {
    await withSmallNode(async ({ client, process, disk, url, token }) => {
      const acknowledged: Acknowledged[] = [];
      // Large contents are files, small ones rows: each kind has a room of its own to fill.
      await fill(client, largeBytes, acknowledged);
      await fill(client, smallBytes, acknowledged);
      expect(acknowledged.length).toBeGreaterThan(10);

      // It still is a node: it tells how it is, lists, and reads all that it acknowledged.
      const status = await client.status();
      expect(status).toMatchObject({ ready: true, content: { damaged: 0, incomplete: 0 }, records: { damaged: 0 } });
      expect(status.disk.freeBytes).toBeLessThan(2 * mebibyte);
      expect((await client.list('test', { limit: 5 })).objects).toHaveLength(5);
      await readBack(client, acknowledged);
      const put = await runInProcess(['put', 'test/more', '-', '--url', url, '--token', token], {
        stdin: 'x'.repeat(largeBytes),
      });
      expect([put.exitCode, put.stdout]).toEqual([1, '']);
      expect(put.stderr).toMatch(/^anabranch: .*\(disk_full\)\n$/);
      const doctor = await runInProcess(['doctor', '--url', url, '--token', token]);
      expect(doctor.stdout).toMatch(/WRONG disks: \S+ has \d MiB left/);

      // With room it takes writes again by itself, and after a crash it has everything.
      await disk.enlarge();
      await expect.poll(() => write(client, 'after', largeBytes), patience).not.toBe('disk_full');
      await expect.poll(() => write(client, 'after', smallBytes), patience).not.toBe('disk_full');
      const before = acknowledged.length;
      for (let index = 0; index < 10; index += 1) {
        const written = await write(client, `later-${index}`, index % 2 === 0 ? largeBytes : smallBytes);
        if (written !== 'disk_full') acknowledged.push(written);
      }
      expect(acknowledged).toHaveLength(before + 10);
      await process.kill();
      await process.start(new AbortController().signal);
      await readBack(client, acknowledged);
      expect(await client.status()).toMatchObject({ content: { damaged: 0, incomplete: 0 }, records: { damaged: 0 } });
    });
  },
);
