import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { MemoryLog } from '../../src/adapters/memory/log.ts';
import { openNode, type RunningNode } from '../../src/compose.ts';
import { prepareSwarm } from '../../src/swarm/swarm-directory.ts';

const waitMsMax = 60_000;
const count = 5;

it('spreads, reads and lists objects over nodes that hold different slots, on real connections', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'anabranch-slots-'));
  const running: RunningNode[] = [];
  try {
    const { nodes } = await prepareSwarm(dir, { nodes: count });
    for (const { dir: nodeDir } of nodes) {
      running.push(await openNode(nodeDir, { log: new MemoryLog(), slotPlacement: { threshold: 0, replicas: 1 } }));
    }
    await until(async () => (await Promise.all(running.map(isInOrder))).every((each) => each));
    const partial = running.filter(({ node }) => !node.list({ ns: 'docs' }).ok);
    expect(partial.length).toBeGreaterThan(0);

    const keys = Array.from({ length: 40 }, (_, at) => `key-${String(at).padStart(2, '0')}`);
    for (const [at, key] of keys.entries()) {
      const { node } = running[at % count] as RunningNode;
      const body = [Buffer.from(`text of ${key}`)];
      expect((await node.put({ ns: 'docs', key, body, author: 'admin' })).ok).toBe(true);
    }
    for (const { node } of running) {
      await until(async () => {
        const listed = await node.wholeList({ ns: 'docs' });
        return listed.ok && listed.value.objects.map(({ key }) => key).join() === keys.join();
      });
    }
    for (const { node } of partial) {
      expect((await node.status()).slots.held).toBeLessThan(16);
      for (const key of keys) expect(await textOf({ node }, key)).toBe(`text of ${key}`);
    }
    // What was written where it does not belong has come to where it does.
    const whole = running.find(({ node }) => node.list({ ns: 'docs' }).ok);
    expect(whole?.node.list({ ns: 'docs' })).toMatchObject({ value: { objects: { length: keys.length } } });
    await until(async () => (await Promise.all(running.map(isInOrder))).every((each) => each));
  } finally {
    await Promise.all(running.map((each) => each.close()));
    await rm(dir, { recursive: true, force: true });
  }
}, 180_000);

async function isInOrder({ node }: RunningNode): Promise<boolean> {
  const { slots, peers } = await node.status();
  return slots.held === slots.kept && slots.leaving === 0 && peers.connected === count - 1;
}

async function textOf({ node }: Pick<RunningNode, 'node'>, key: string): Promise<string> {
  const input = { ns: 'docs', key };
  const bringing = node.bring(input);
  if (bringing !== undefined) await bringing;
  const found = node.read(input);
  if (!found.ok) return found.error.code;
  const opened = await found.value.open();
  if (!opened.ok) return opened.error.code;
  const parts: Uint8Array[] = [];
  for await (const part of opened.value) parts.push(part);
  return Buffer.concat(parts).toString();
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + waitMsMax;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error('it did not come to be in time');
    await sleep(50);
  }
}
