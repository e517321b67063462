import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { blake3, toHex } from '../../crdt/digest.ts';
import type { ReplicaPage, ReplicationStatus } from '../../src/node/api.ts';
import { type RunningProcess, withNodes } from '../support/node-processes.ts';

type Five = [RunningProcess, RunningProcess, RunningProcess, RunningProcess, RunningProcess];

const objects = 12;
/** Hearts that beat every second, so that a node is offline after twelve of them, and is replaced five seconds later. */
const serveOptions = ['--heartbeat-every', '1s', '--repair-delay', '5s'];
/** Of anything that is to happen; the machine may be busy. */
const patience = { timeout: 120_000, interval: 500 };
const key = (index: number) => `file-${index}`;

const provedHolders = ({ versions }: ReplicaPage) =>
  (versions[0]?.holders ?? []).filter(({ proved, suspect }) => proved && !suspect);

/** Every object has three proved holders in two places, and no copy beside them. An audit has copies proved. */
async function expectAllProved(node: RunningProcess): Promise<void> {
  const wanted = { holders: 3, listed: 3, isDiverse: true };
  await expect
    .poll(async () => {
      await audited(node);
      const found: (typeof wanted)[] = [];
      for (let index = 0; index < objects; index += 1) {
        const page = await node.client.replication.replicas('docs', key(index));
        const holders = provedHolders(page);
        const places = new Set(holders.map(({ labels }) => labels.dc));
        const listed = page.versions[0]?.holders.length ?? 0;
        found.push({ holders: holders.length, listed, isDiverse: places.size >= 2 });
      }
      return found;
    }, patience)
    .toEqual(Array(objects).fill(wanted));
}

async function audited({ client }: RunningProcess): Promise<ReplicationStatus> {
  const outcome = await client.replication.audit(30);
  return outcome.status ?? expect.fail(`the audit did not end: ${JSON.stringify(outcome)}`);
}

describe('five labelled processes', () => {
  it('keep three proved copies in two places, whoever is killed, comes back or drains', {
    timeout: 600_000,
  }, async () => {
    await withNodes(
      5,
      async (nodes) => {
        const [first, , , fourth, fifth] = nodes as Five;
        const names = new Map(nodes.map((each) => [each.node.nodeId as string, each]));
        await first.client.cluster.setNamespace('docs', { replicas: 3, diversity: { dc: 2 } });
        const contents = Array.from({ length: objects }, () => randomBytes(200_000));
        for (const [index, content] of contents.entries()) await fifth.client.put('docs', key(index), content);
        await expectAllProved(first);
        // Each coordinator learns by itself of what the writer has dropped.
        await expect
          .poll(async () => (await audited(fourth)).totals, patience)
          .toMatchObject({ subjects: objects, healthy: objects, over: 0 });

        // A range through a node that does not hold it.
        const page = await first.client.replication.replicas('docs', key(0));
        const holders = new Set(provedHolders(page).map(({ nodeId }) => nodeId as string));
        const stranger = nodes.find(({ node }) => !holders.has(node.nodeId)) ?? expect.fail('everybody holds it');
        const answer = await fetch(`${stranger.node.url}/v1/objects/docs/${key(0)}`, {
          headers: { authorization: `Bearer ${stranger.node.token}`, range: 'bytes=100000-150000' },
        });
        expect(answer.status).toBe(206);
        const part = Buffer.from(await answer.arrayBuffer());
        expect(toHex(blake3(part))).toBe(toHex(blake3(contents[0]?.subarray(100_000, 150_001) as Uint8Array)));

        // One is killed: what it held is planned at once, and copied when the delay is over.
        await fifth.process.kill();
        await expect
          .poll(async () => (await first.client.replication.plan()).repairs.length, { ...patience, interval: 100 })
          .toBeGreaterThan(0);
        await expect
          .poll(async () => {
            const { healthy, over, subjects } = (await first.client.replication.status()).totals;
            return healthy + over === subjects && subjects === objects;
          }, patience)
          .toBe(true);
        await expect.poll(async () => (await audited(first)).healthy, patience).toBe(true);

        // It comes back: there is more than there has to be, and nothing is lost.
        await fifth.process.start(new AbortController().signal);
        await expect
          .poll(async () => (await audited(first)).totals, patience)
          .toMatchObject({ subjects: objects, under: 0, mis: 0, unreachable: 0, degraded: 0 });
        await expect.poll(async () => (await audited(first)).totals.over, patience).toBeGreaterThan(0);
        for (const [index, content] of contents.entries()) {
          const read = await fifth.client.get('docs', key(index));
          const pieces: Uint8Array[] = [];
          for await (const piece of read.body) pieces.push(piece);
          expect(Buffer.concat(pieces).equals(content), key(index)).toBe(true);
        }

        // One drains until it may be switched off.
        const target = names.get(fourth.node.nodeId) ?? expect.fail('no fourth node');
        expect((await first.client.replication.drainStatus(target.node.nodeId)).safe).toBe(false);
        await first.client.replication.drain(target.node.nodeId, { reason: 'to be switched off' });
        await expect
          .poll(async () => (await first.client.replication.drainStatus(target.node.nodeId)).safe, patience)
          .toBe(true);
        await target.process.stop();
        for (let index = 0; index < objects; index += 1) {
          const { versions } = await first.client.replication.replicas('docs', key(index));
          const others = versions[0]?.holders.filter(({ nodeId, proved }) => proved && nodeId !== target.node.nodeId);
          expect(others?.length, key(index)).toBeGreaterThanOrEqual(3);
        }
      },
      {},
      serveOptions,
    );
  });
});
