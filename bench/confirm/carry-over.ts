import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Certificate } from '../../crdt/certificate.ts';
import { blake3, toBase32 } from '../../crdt/digest.ts';
import { QuorumEngine } from '../../protocols/quorum/engine.ts';
import type { Coordinator } from '../../protocols/quorum/register-kind.ts';
import { openLmdbKv } from '../../src/adapters/lmdb/kv.ts';
import { steadyLinks } from '../../src/adapters/memory/links.ts';
import { MemoryLog } from '../../src/adapters/memory/log.ts';
import { MemoryHub } from '../../src/adapters/memory/network.ts';
import { SystemClock } from '../../src/adapters/system/clock.ts';
import { SystemRandom } from '../../src/adapters/system/random.ts';
import { KvAcceptorStore } from '../../src/node/confirmation/acceptor-store.ts';
import { coordinatorOf } from '../../test/support/quorum-mesh.ts';
import { actorOf, testCluster, testNode } from '../../test/support/versions.ts';
import { type BenchCase, benchCase } from '../support/cases.ts';
import { pause } from '../support/swarm.ts';

const registers = 100_000;
const rowsPerTransaction = 5_000;
const founders = ['north', 'east', 'south'];
const newcomer = 'west';

/**
 * How long it takes until every register that three coordinators hold has been accepted by a majority of four: their
 * engines and LMDB stores, all in this one process, with nothing between them.
 */
export async function benchCarryOver(say: (text: string) => void): Promise<BenchCase> {
  const dir = await mkdtemp(join(tmpdir(), 'anabranch-bench-carry-'));
  const closers: (() => Promise<void>)[] = [() => rm(dir, { recursive: true, force: true })];
  try {
    const clock = new SystemClock();
    const hub = new MemoryHub({ clock }, { links: steadyLinks(0) });
    const coordinators = [...founders, newcomer].map(coordinatorOf);
    const engines: QuorumEngine[] = [];
    say(`filling the stores of three coordinators with ${registers} registers`);
    for (const name of [...founders, newcomer]) {
      const kv = await openLmdbKv(join(dir, name));
      closers.push(() => kv.close());
      const store = new KvAcceptorStore(kv);
      if (name !== newcomer) await fill(store);
      const { engine, stop } = await startEngine(name, { hub, clock, store, coordinators });
      closers.push(stop);
      engines.push(engine);
    }
    await pause(500);
    say('carrying them over to a fourth');
    const startMs = performance.now();
    const outcome = await (engines[0] as QuorumEngine).carry({ signal: new AbortController().signal });
    if (outcome.kind !== 'complete') throw new Error(`the carry-over ended: ${outcome.reason}`);
    const seconds = (performance.now() - startMs) / 1_000;
    return benchCase({
      bench: 'confirm',
      case: `carry-over of ${registers} registers to a fourth coordinator, one process`,
      value: seconds,
      unit: 's',
      target: { of: 'value', atMost: 120 },
    });
  } finally {
    for (const close of closers.toReversed()) await close();
  }
}

function registerOf(index: number): string {
  return toBase32(blake3(Buffer.from(`register ${index}`)));
}

/** Every register as it is after one confirmed head in epoch 1. */
async function fill(store: KvAcceptorStore): Promise<void> {
  const ballot = { counter: 1, proposer: actorOf(testNode('north')) };
  for (let start = 0; start < registers; start += rowsPerTransaction) {
    await store.transact((transaction) => {
      if (transaction.epoch === 0) transaction.raiseEpoch(1);
      for (let index = start; index < start + rowsPerTransaction; index += 1) {
        const register = registerOf(index);
        const value = { position: 1, head: register, previous: null };
        transaction.setState(register, { promised: ballot, accepted: { ballot, value, epoch: 1 } });
      }
    });
  }
}

interface Surroundings {
  readonly hub: MemoryHub;
  readonly clock: SystemClock;
  readonly store: KvAcceptorStore;
  readonly coordinators: readonly Coordinator[];
}

async function startEngine(
  name: string,
  { hub, clock, store, coordinators }: Surroundings,
): Promise<{ readonly engine: QuorumEngine; readonly stop: () => Promise<void> }> {
  const { nodeId, signer } = testNode(name);
  const network = hub.join(coordinatorOf(name).peerId);
  const latest = new Map<string, Certificate>();
  const engine = new QuorumEngine({
    nodeId,
    signer,
    network,
    clock,
    random: new SystemRandom(),
    log: new MemoryLog(),
    store,
    certificates: {
      latest: (register) => latest.get(register) ?? null,
      verify: () => true,
      keep: async (certificate) => void latest.set(certificate.statement.register, certificate),
    },
    view: () => ({ cluster: testCluster, epoch: 2, coordinators, carried: false, logSeq: 1 }),
    kindOf: () => ({ check: () => 'accept', hold: async () => true }),
    epochAhead: () => undefined,
  });
  engine.start();
  await network.start();
  return {
    engine,
    stop: async () => {
      engine.stop();
      await network.stop();
    },
  };
}
