import { describe, expect, test } from 'vitest';
import { Mesh } from '../../../support/mesh.ts';

const names = ['alice', 'bob', 'carol'];

describe('a crash at any moment of a confirmation', () => {
  test.each(names)('of %s leaves one chain, and everything is confirmed in the end', async (crashed) => {
    for (let delayMs = 1; delayMs <= 20; delayMs += 1) {
      const mesh = await Mesh.start(names, `crash ${crashed} ${delayMs}`, names);
      const body = [Buffer.from('text')];
      const write = mesh.get('bob').node.put({ ns: 'test', key: 'plan', author: 'admin', body, commit: 'quorum' });
      write.catch(() => undefined);
      await mesh.settle(delayMs);
      await mesh.crash(crashed);
      await mesh.settle(500);
      await mesh.startNode(crashed);
      await mesh.settle(2_000);
      // What bob had not flushed when it crashed was acknowledged to nobody.
      const written = mesh.heads('bob', 'plan')[0] ?? (await mesh.put('bob', 'plan', 'again')).version;
      const head = (name: string): string | undefined => {
        const graph = mesh.get(name).node.graph({ ns: 'test', key: 'plan' });
        return graph.ok ? (graph.value.confirmedHead ?? undefined) : undefined;
      };
      await mesh.until(() => names.every((name) => head(name) === written));
      expect(mesh.heads('alice', 'plan')).toEqual([written]);
      await mesh.stop();
    }
  });
});
