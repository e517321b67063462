import type { MeshEvent } from '../../src/node/api.ts';
import type { RunningProcess } from '../../test/support/node-processes.ts';

const waitMsMax = 180_000;

/** Watches a node's events from now on; `timeOf` waits for the next of a kind and says when it came, in milliseconds. */
export async function watchEvents({ client }: RunningProcess): Promise<{
  timeOf(type: MeshEvent['type'], key: string): Promise<number>;
  close(): void;
}> {
  const done = new AbortController();
  const signal = AbortSignal.any([done.signal, AbortSignal.timeout(waitMsMax)]);
  const events = (await client.events({ signal }))[Symbol.asyncIterator]();
  return {
    close: () => done.abort(),
    async timeOf(type, key) {
      for (;;) {
        const { done: isOver, value } = await events.next();
        if (isOver) throw new Error(`the event stream ended before a '${type}' event of ${key}`);
        if (value.type === type && 'key' in value.data && value.data.key === key) return performance.now();
      }
    },
  };
}
