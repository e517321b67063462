import type { BlobHash } from '../../crdt/ids.ts';
import { SeededRandom } from '../../src/adapters/memory/random.ts';
import { Draw } from './draw.ts';
import { namespace, Simulation } from './simulation.ts';
import { isContentIntact } from './soundness.ts';
import { Violation } from './violation.ts';

const names = ['alice', 'bob', 'carol'];
/** Some 140 chunks in the small cut: more than the sweeper judges in one stretch. */
const pieceBytes = 256 * 1024;
const pieces = 40;
/** How long the content is watched after it was written again, and how often. */
const watchedMs = 8_000;
const watchEveryMs = 10;
/** Within so long a node has dropped what is placed elsewhere. */
const dropMsMax = 120_000;
/** A sweep over the content takes about so long on these disks. */
const sweepMsMax = 300;

/**
 * A node drops a content that is placed elsewhere, as its policy has it, and the same bytes are written there again while
 * it takes the content apart, at a moment that follows from the seed. Throws `Violation` when that node calls the content
 * whole and it is not, and when anything else is violated.
 */
export async function playSweep(seed: number): Promise<void> {
  const sim = new Simulation({
    seed: `sweeping ${seed}`,
    nodes: names,
    replication: { repairDelayMs: 30_000, followEveryMs: 1_000, auditEveryMs: 60_000 },
  });
  const draw = new Draw(new SeededRandom(`sweeping ${seed}`));
  await sim.startAll();
  const policy = { replicas: 1, chunking: 'small' } as const;
  await sim.run(
    sim.node('alice').cluster.change({ operation: { type: 'namespace', ns: namespace, policy }, actor: 'operator' }),
  );
  await sim.advance(2_000);
  const [holder] = sim.contentHoldersOf({ ns: namespace, key: 'file' });
  const writer = names.find((name) => name !== holder?.name) ?? '';
  const { machine, manifest } = await writeAndDrop(sim, writer);
  await sim.advance(draw.integer(0, sweepMsMax));
  const written = sim.put(writer, 'file', body());
  for (let leftMs = watchedMs; leftMs > 0; leftMs -= watchEveryMs) {
    if (machine.contents.has(manifest) && !isContentIntact(machine, manifest, 'now'))
      throw new Violation('sweeping', `${writer} calls content ${manifest} whole, and it is not`);
    await sim.advance(watchEveryMs);
  }
  await sim.run(written);
  await sim.runUntilQuiet();
}

/** The same bytes at every call, and chunks that all differ. */
function body(): Uint8Array[] {
  let state = 1;
  return Array.from({ length: pieces }, () => {
    const words = new Uint32Array(pieceBytes / 4);
    for (let index = 0; index < words.length; index++) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      words[index] = state;
    }
    return new Uint8Array(words.buffer);
  });
}

/** Resolves when the node has just dropped what it wrote. */
async function writeAndDrop(sim: Simulation, writer: string) {
  const { version } = await sim.write(writer, 'file', body());
  const manifest = sim.library.get(version)?.version.record.content?.manifest as BlobHash;
  const machine = sim.get(writer);
  const { blobs } = machine;
  const sizeOf = blobs.sizeOf.bind(blobs);
  // A disk that takes a millisecond to say how large a file is.
  blobs.sizeOf = async (hash) => {
    await sim.clock.sleep(1);
    return sizeOf(hash);
  };
  for (let leftMs = dropMsMax; machine.contents.has(manifest); leftMs -= watchEveryMs) {
    if (leftMs <= 0) throw new Violation('sweeping', `${writer} has not dropped what is placed elsewhere`);
    await sim.advance(watchEveryMs);
  }
  return { machine, manifest };
}
