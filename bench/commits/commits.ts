import { randomBytes } from 'node:crypto';
import { type RunningProcess, withNodes } from '../../test/support/node-processes.ts';
import { withBareLmdb } from '../support/bare-lmdb.ts';
import { type BenchCase, benchCase, median } from '../support/cases.ts';
import { sharesOf, withProfiledNode } from '../support/cpu-profile.ts';
import { contentSource, LoadGenerator } from '../support/load-generator.ts';
import { perSecond } from '../support/rates.ts';
import { stageNames, stageOf } from './stages.ts';

const writers = 32;
const objectBytes = 4_096;
const roundMs = 4_000;
const rounds = 3;
/** Until its code is compiled, a node takes a quarter fewer. */
const warmMs = 10_000;
/** A write to a new object puts about so many rows. */
const rowsPerCommit = 8;

const profileMs = 20_000;

const content = contentSource(objectBytes);

/**
 * Small objects a second over HTTP, each flushed before its answer, beside bare LMDB transactions; with `profile` also
 * where the processor's time of a write goes.
 */
export async function benchCommits(
  say: (text: string) => void,
  { profile }: { readonly profile: boolean },
): Promise<BenchCase[]> {
  const cases = await ratesOf(say);
  return profile ? [...cases, ...(await stagesOf(say))] : cases;
}

async function ratesOf(say: (text: string) => void): Promise<BenchCase[]> {
  return await withNodes(1, async ([node]) => {
    const put: number[] = [];
    const bare: number[] = [];
    const single: number[] = [];
    say('warming up');
    await putObjects(node as RunningProcess, 'warm', writers, warmMs);
    for (let round = 0; round < rounds; round += 1) {
      say(`round ${round + 1} of ${rounds}: LMDB alone, then ${writers} writers, then one`);
      bare.push(await bareTransactions());
      put.push(await putObjects(node as RunningProcess, `r${round}`, writers, roundMs));
      single.push(await putObjects(node as RunningProcess, `s${round}`, 1, roundMs / 2));
    }
    const reference = { name: `LMDB transactions of ${rowsPerCommit} puts, flushed`, value: median(bare) };
    return [
      benchCase({
        bench: 'commits',
        case: `4 KiB objects, ${writers} writers`,
        value: median(put),
        unit: '/s',
        reference,
        target: { of: 'value', atLeast: 2_000 },
      }),
      benchCase({ bench: 'commits', case: '4 KiB objects, 1 writer', value: median(single), unit: '/s' }),
    ];
  });
}

/** What a write costs on a node whose code is compiled, by what the main thread was found at; profiling itself slows it. */
function stagesOf(say: (text: string) => void): Promise<BenchCase[]> {
  return withProfiledNode(async (node, profiled) => {
    say(`a profile of ${writers} writers`);
    await putObjects(node, 'warm', writers, warmMs);
    let startMs = 0;
    const { result, profile, mainMicroseconds, allMicroseconds } = await profiled(async () => {
      startMs = performance.now();
      const perSecond = await putObjects(node, 'profiled', writers, profileMs);
      return { perSecond, seconds: (performance.now() - startMs) / 1_000 };
    });
    const writes = result.perSecond * result.seconds;
    const shares = sharesOf(profile, stageOf);
    const stage = (name: string, microseconds: number): BenchCase =>
      benchCase({ bench: 'commits', case: `a write, ${name}`, value: microseconds / writes, unit: 'µs' });
    return [
      stage('main thread, all of it', mainMicroseconds),
      ...stageNames.map((name) => stage(name, (shares.get(name) ?? 0) * mainMicroseconds)),
      stage('other threads: flushes, files, compiler, collector', allMicroseconds - mainMicroseconds),
    ];
  });
}

async function putObjects({ node }: RunningProcess, prefix: string, count: number, forMs: number): Promise<number> {
  const load = await LoadGenerator.connect(node, count);
  try {
    return await perSecond(count, forMs, (writer, index) =>
      load.put(writer, 'bench', `${prefix}/${writer}/${index}`, content()),
    );
  } finally {
    load.close();
  }
}

/** Transactions of LMDB alone, each of the rows of a write. */
function bareTransactions(): Promise<number> {
  const value = randomBytes(700);
  const rows = function* (writer: number, index: number): Generator<[Uint8Array, Uint8Array]> {
    for (let row = 0; row < rowsPerCommit - 1; row += 1) yield [Buffer.from(`${row}/${writer}/${index}`), value];
    yield [Buffer.from(`content/${writer}/${index}`), randomBytes(objectBytes)];
  };
  return withBareLmdb((commit) => perSecond(writers, roundMs, (writer, index) => commit(() => rows(writer, index))));
}
