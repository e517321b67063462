import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { generateFile } from '../../src/swarm/tour/generated-file.ts';
import { youngGenerationFlags } from '../../src/young-generation.ts';
import { CliProcess, cliProcess } from '../support/cli-process.ts';
import { type RunningProcess, watchMemory, withNodes } from '../support/node-processes.ts';

const largeBytes = 300 * 1024 * 1024;
/** Far below the content: what a process holds does not grow with what it moves. */
const memoryBytesMax = 200 * 1024 * 1024;

/** What a node may take to drain and flush. */
const stopMsMax = 5_000;

let folder: string;
let nodes: readonly RunningProcess[];
let finish: () => void;
let finished: Promise<void>;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'anabranch-cli-'));
  const done = Promise.withResolvers<void>();
  finish = done.resolve;
  await new Promise<void>((ready, failed) => {
    finished = withNodes(2, async (started) => {
      nodes = started;
      ready();
      await done.promise;
    });
    finished.catch(failed);
  });
});

afterAll(async () => {
  finish();
  await finished;
  await rm(folder, { recursive: true });
});

const at = (index: number): string[] => ['--dir', nodes[index]?.node.dir ?? ''];

/** A body of which a part comes, and the rest only once `goOn` is called. */
function haltingBody(): { readonly body: AsyncGenerator<Uint8Array>; readonly halted: Promise<void>; goOn(): void } {
  const halted = Promise.withResolvers<void>();
  const goOn = Promise.withResolvers<void>();
  const pieces = async function* (): AsyncGenerator<Uint8Array> {
    for (let index = 0; index < 8; index += 1) yield Buffer.alloc(1_000_000, index);
    halted.resolve();
    await goOn.promise;
    yield Buffer.alloc(1_000_000, 8);
  };
  return { body: pieces(), halted: halted.promise, goOn: goOn.resolve };
}

async function hashOf(stream: AsyncIterable<Uint8Array>): Promise<string> {
  const hash = createHash('sha256');
  for await (const piece of stream) hash.update(piece);
  return hash.digest('hex');
}

describe('the command line, as processes', () => {
  it('streams a large object in at one node and out at another with little memory', async () => {
    const expected = await hashOf(Readable.from(generateFile('large', largeBytes)));
    const put = new CliProcess(['put', 'e2e/large', '-', ...at(0), '--json']);
    const putMemory = watchMemory([put.pid]);
    await pipeline(Readable.from(generateFile('large', largeBytes)), put.child.stdin);
    const stored = await put.result;
    expect(await putMemory.stop()).toBeLessThan(memoryBytesMax);
    expect(stored).toMatchObject({ exitCode: 0, stderr: '' });
    const { version, size } = JSON.parse(stored.stdout);
    expect(size).toBe(largeBytes);

    const out = join(folder, 'large.bin');
    const args = ['get', 'e2e/large', '-o', out, ...at(1)];
    // The other node hears of the version first, and then waits for its content by itself.
    await expect
      .poll(
        async () =>
          (await cliProcess(['get', 'e2e/large', '--version', version, '-o', '/dev/null', ...at(1)])).exitCode,
        {
          timeout: 60_000,
        },
      )
      .toBe(0);
    const get = new CliProcess(args);
    const getMemory = watchMemory([get.pid]);
    expect(await get.result).toMatchObject({ exitCode: 0, stderr: '' });
    expect(await getMemory.stop()).toBeLessThan(memoryBytesMax);
    expect((await stat(out)).size).toBe(largeBytes);
    expect(await hashOf(createReadStream(out))).toBe(expected);
  });

  it('leaves no half file behind when it is interrupted', async () => {
    const out = join(folder, 'interrupted.bin');
    const get = new CliProcess(['get', 'e2e/large', '-o', out, ...at(0)]);
    await expect
      .poll(async () => (await readdir(folder)).some((name) => name.endsWith('.part')), { timeout: 20_000 })
      .toBe(true);
    const { exitCode, stderr } = await get.end('SIGINT');
    expect({ exitCode, stderr }).toEqual({ exitCode: 1, stderr: 'anabranch: interrupted by SIGINT\n' });
    expect((await readdir(folder)).filter((name) => name.includes('interrupted'))).toEqual([]);
  });

  it('hears that a token is wrong before a large body is sent', async () => {
    const args = ['put', 'e2e/refused', '-', ...at(0), '--token', 'a-wrong-token-of-the-test'];
    const put = new CliProcess(args);
    put.child.stdin.on('error', () => undefined);
    Readable.from(generateFile('refused', largeBytes)).pipe(put.child.stdin);
    const { exitCode, stderr } = await put.result;
    expect({ exitCode, stderr }).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('(unauthorized)') });
    expect((await cliProcess(['get', 'e2e/refused', ...at(0)])).exitCode).toBe(3);
  });

  it('stops quietly when nobody reads on', async () => {
    const get = new CliProcess(['get', 'e2e/large', ...at(0)]);
    get.child.stdout.once('data', () => get.child.stdout.destroy());
    const { exitCode, stderr } = await get.result;
    expect({ exitCode, stderr }).toEqual({ exitCode: 1, stderr: '' });
  });

  it.each([
    [['get', 'e2e/none'], 3],
    [['get', 'NO/none'], 2],
    [['put', 'e2e/x', '/none'], 1],
    [['nonsense'], 2],
  ])('%j ends with exit code %d and one line', async (args, expected) => {
    const target = args[0] === 'nonsense' ? [] : at(0);
    const { exitCode, stdout, stderr } = await cliProcess([...args, ...target]);
    expect({ exitCode, stdout }).toEqual({ exitCode: expected, stdout: '' });
    expect(stderr).toMatch(/^anabranch: [^\n]+\n$/);
  });
});

describe('serve', () => {
  it('refuses a directory that another process uses', async () => {
    const { exitCode, stderr } = await cliProcess(['serve', ...at(0)]);
    expect(exitCode).toBe(1);
    expect(stderr).toContain('is in use by process');
  });

  it('needs no other flag, has no control socket, and stops on SIGTERM with all it acknowledged', async () => {
    const [, second] = nodes;
    if (second === undefined) throw new Error('two nodes were started');
    await second.process.stop();
    const serve = new CliProcess(['serve', ...at(1)]);
    onTestFinished(async () => void (await serve.end('SIGTERM')));
    await serve.until(/n2 serves at http:/);
    if (process.platform === 'linux') {
      const started = (await readFile(`/proc/${serve.pid}/cmdline`, 'utf8')).split('\0');
      expect(started).toEqual(expect.arrayContaining([...youngGenerationFlags]));
    }
    expect(await readdir(second.node.dir)).not.toContain('control.sock');
    await writeFile(join(folder, 'kept.txt'), 'kept');
    expect((await cliProcess(['put', 'e2e/kept', join(folder, 'kept.txt'), ...at(1)])).exitCode).toBe(0);
    // Neither an upload that does not go on, nor a reader that has stopped reading, nor somebody who listens holds it up.
    const upload = haltingBody();
    const refused = expect(second.client.put('e2e', 'halted', upload.body)).rejects.toThrow();
    await upload.halted;
    const reading = (await second.client.get('e2e', 'large')).body[Symbol.asyncIterator]();
    expect((await reading.next()).done).toBe(false);
    const events = await second.client.events({ signal: AbortSignal.timeout(60_000) });
    const listening = (async () => {
      for await (const _ of events);
    })();
    const startedMs = performance.now();
    expect((await serve.end('SIGTERM')).exitCode).toBe(0);
    expect(performance.now() - startedMs).toBeLessThan(stopMsMax);
    upload.goOn();
    await Promise.all([refused, listening, reading.return?.()]);
    expect((await cliProcess(['status', ...at(1)])).exitCode).toBe(4);
    await second.process.start(new AbortController().signal);
    expect((await cliProcess(['get', 'e2e/kept', ...at(1)])).stdout).toBe('kept');
    expect((await cliProcess(['get', 'e2e/halted', ...at(1)])).exitCode).toBe(3);
  });
});
