import { randomBytes } from 'node:crypto';
import { expect, it } from 'vitest';
import { type RunningProcess, withNodes } from '../support/node-processes.ts';

const mebibyte = 1024 * 1024;

it('holds content to the rate of node.json, while small objects come at once', async () => {
  await withNodes(
    2,
    async (nodes) => {
      const [source, target] = nodes as [RunningProcess, RunningProcess];
      const startMs = performance.now();
      await source.client.put('files', 'large', randomBytes(6 * mebibyte), { size: 6 * mebibyte });
      await source.client.put('files', 'small', Buffer.from('small'), { size: 5 });
      await until(async () => (await pendingAt(target)) === 1 && (await isThere(target, 'small')));
      const smallMs = performance.now() - startMs;
      await until(async () => (await isThere(target, 'large')) && (await pendingAt(target)) === 0);
      const largeMs = performance.now() - startMs;
      // A burst of a tenth of a second's worth comes first.
      expect(largeMs).toBeGreaterThan(5_500);
      expect(smallMs).toBeLessThan(largeMs - 1_000);
    },
    { maxUpload: '1MiB' },
  );
}, 120_000);

async function pendingAt({ client }: RunningProcess): Promise<number> {
  return (await client.status()).pendingContent;
}

async function isThere({ client }: RunningProcess, key: string): Promise<boolean> {
  const { objects } = await client.list('files');
  return objects.some((object) => object.key === key);
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  const endMs = performance.now() + 90_000;
  while (!(await condition())) {
    if (performance.now() > endMs) throw new Error('the condition did not come true in time');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
