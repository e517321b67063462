import { describe, expect, it } from 'vitest';
import type { NodeInfo } from '../../src/node/api.ts';
import { type RunningProcess, withNodes } from '../support/node-processes.ts';

/** Nodes beat every 5 s; the machine may be busy. */
const seenMsMax = 60_000;
/** Suspect after 15 s of silence, by the default. */
const suspectMsMax = 60_000;

const infoOf = async ({ client }: RunningProcess, name: string): Promise<NodeInfo> => {
  const { nodes } = await client.nodes();
  return nodes.find((node) => node.name === name) ?? expect.fail(`${name} is not listed`);
};

describe('node processes', () => {
  it('show how each other are, and notice when one is killed', { timeout: 180_000 }, async () => {
    await withNodes(3, async (nodes) => {
      const [first, , third] = nodes as [RunningProcess, RunningProcess, RunningProcess];
      const { name } = third.node;
      await expect
        .poll(async () => (await infoOf(first, name)).freeBytes, { timeout: seenMsMax, interval: 250 })
        .toBeGreaterThan(0);
      const before = await infoOf(first, name);
      expect(before).toMatchObject({ state: 'online', connected: true, self: false, draining: false, url: null });
      expect(before.version).toMatch(/^\d+\.\d+\.\d+/);
      expect(before.usedBytes).toBe((before.capacityBytes ?? 0) - (before.freeBytes ?? 0));
      expect(before.addresses.some((address) => address.endsWith(String(third.node.meshPort)))).toBe(true);
      expect(await infoOf(third, name)).toMatchObject({ state: 'online', self: true });
      await third.process.kill();
      await expect
        .poll(async () => (await infoOf(first, name)).state, { timeout: suspectMsMax, interval: 500 })
        .toBe('suspect');
      expect((await infoOf(first, name)).connected).toBe(false);
    });
  });
});
