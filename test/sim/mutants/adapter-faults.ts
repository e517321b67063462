import type { NodeAdapters } from '../../../src/node/node-parts.ts';
import { metaKey } from '../../../src/node/storage-keys.ts';
import type { Kv, KvTransaction } from '../../../src/ports/kv.ts';

type Tamper = (adapters: NodeAdapters, name: string) => NodeAdapters;

/** Deliberate faults that are adapters gone wrong: a node that is handed one must be found out. */
export const adapterFaults = {
  /** A store that acknowledges a transaction when it is committed, not when it is flushed. */
  'acknowledge-before-flush': (adapters) => ({ ...adapters, kv: hasty(adapters.kv) }),
  /** A random source that starts over at every start: a new incarnation is the old one, and its dots come again. */
  'reuse-dots': (adapters, name) => ({
    ...adapters,
    random: {
      bytes: (length) => new Uint8Array(length).fill(name.length),
      fraction: () => adapters.random.fraction(),
    },
  }),
  /** A store that keeps the clean-stop marker when it is told to remove it, so that an unclean stop looks clean. */
  'keep-clean-stop-marker': (adapters) => ({ ...adapters, kv: withChange(adapters.kv, keepingMarker) }),
  /** A blob store whose flush does nothing, so that what was flushed is still lost with the power. */
  'flush-nothing': (adapters) => ({ ...adapters, blobs: { ...adapters.blobs, flush: async () => undefined } }),
} satisfies Record<string, Tamper>;

export type AdapterFaultName = keyof typeof adapterFaults;

function hasty(kv: Kv): Kv {
  return {
    ...methodsOf(kv),
    transact: (change) => {
      const committed = Promise.withResolvers<Awaited<ReturnType<typeof change>>>();
      const flushed = kv.transact((transaction) => {
        const result = change(transaction);
        void turns(10).then(() => committed.resolve(result as Awaited<typeof result>));
        return result;
      });
      return Promise.race([committed.promise, flushed]) as typeof flushed;
    },
  };
}

/** So many turns of promise callbacks: a transaction that fails has failed by then, and no flush has ended. */
async function turns(count: number): Promise<void> {
  for (let left = count; left > 0; left -= 1) await null;
}

function withChange(kv: Kv, wrap: (transaction: KvTransaction) => KvTransaction): Kv {
  return { ...methodsOf(kv), transact: (change) => kv.transact((transaction) => change(wrap(transaction))) };
}

function keepingMarker(transaction: KvTransaction): KvTransaction {
  const marker = Buffer.from(metaKey('clean-stop'));
  return {
    ...transaction,
    delete: (key) => {
      if (!marker.equals(key)) transaction.delete(key);
    },
  };
}

function methodsOf(kv: Kv): Kv {
  return {
    get: (key) => kv.get(key),
    range: (range) => kv.range(range),
    transact: (change) => kv.transact(change),
    flush: () => kv.flush(),
    identity: () => kv.identity(),
    close: () => kv.close(),
  };
}
