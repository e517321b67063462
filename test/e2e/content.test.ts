import { randomBytes } from 'node:crypto';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'vitest';
import { blake3, blobHashOf, toHex } from '../../crdt/digest.ts';
import { openLmdbKv } from '../../src/adapters/lmdb/kv.ts';
import { smallBlobBytesMax } from '../../src/node/content/content-store.ts';
import { DeadLetters } from '../../src/node/content/dead-letters.ts';
import { nodeDirectoryPaths } from '../../src/node-directory.ts';
import { type RunningProcess, withNodes } from '../support/node-processes.ts';
import { type CliResult, runInProcess } from '../support/run-cli.ts';

const patience = { timeout: 120_000, interval: 200 };

const anabranch = ({ node }: RunningProcess, ...args: readonly string[]): Promise<CliResult> =>
  runInProcess([...args, '--url', node.url, '--token', node.token]);

/** Puts down on the disk of a node that is stopped what a content with a made-up manifest would leave there: no peer that comes has it tried again. */
async function giveUp({ node }: RunningProcess, bytes: Uint8Array): Promise<string> {
  const hash = blobHashOf(bytes);
  const kv = await openLmdbKv(nodeDirectoryPaths(node.dir).data);
  try {
    const death = { reason: 'unusable', attempts: 1, message: 'the manifest is made up', time: Date.now() } as const;
    await kv.transact((transaction) => {
      new DeadLetters().add(transaction, { kind: 'content', hash, sizeBytes: bytes.length, ...death });
    });
  } finally {
    await kv.close();
  }
  return hash;
}

interface StoredFile {
  readonly path: string;
  readonly bytes: Buffer;
}

async function filesUnder(dir: string): Promise<StoredFile[]> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  const paths = entries.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name));
  return Promise.all(paths.map(async (path) => ({ path, bytes: await readFile(path) })));
}

/** Changes a byte in the middle of a file. */
async function rot({ path, bytes }: StoredFile): Promise<void> {
  const middle = Math.floor(bytes.length / 2);
  const rotten = Buffer.from(bytes);
  rotten.writeUInt8(bytes.readUInt8(middle) ^ 1, middle);
  await writeFile(path, rotten);
}

async function rotGreatestFile(dir: string): Promise<void> {
  const [greatest] = (await filesUnder(dir)).sort((a, b) => b.bytes.length - a.bytes.length);
  await rot(greatest as StoredFile);
}

/** The files of a content's chunks, in their order. A last chunk that is short is a row, and has none. */
async function chunksOf(dir: string, content: Buffer): Promise<StoredFile[]> {
  const files = await filesUnder(dir);
  const chunks: StoredFile[] = [];
  for (let from = 0; from < content.length - smallBlobBytesMax; ) {
    const next = files.find(
      ({ bytes }) => bytes.length > 0 && bytes.equals(content.subarray(from, from + bytes.length)),
    );
    if (next === undefined) throw new Error(`no file has the content from byte ${from} on`);
    chunks.push(next);
    from += next.bytes.length;
  }
  return chunks;
}

describe.concurrent('the content of a node', () => {
  it('that was given up is listed, told of by the doctor and tried again; what rots is found on demand and mended', {
    timeout: 300_000,
  }, async ({ expect }) => {
    await withNodes(2, async (nodes) => {
      const [first, second] = nodes as [RunningProcess, RunningProcess];
      const content = randomBytes(3_000_000);
      await first.client.put('docs', 'large', content);
      await expect.poll(async () => (await second.client.status()).objects, patience).toBe(1);
      await expect.poll(async () => (await second.client.status()).pendingContent, patience).toBe(0);

      await second.process.stop();
      const hash = await giveUp(second, randomBytes(100_000));
      await rotGreatestFile(nodeDirectoryPaths(second.node.dir).blobs);
      await second.process.start(new AbortController().signal);
      await expect.poll(async () => (await second.client.status()).peers.connected, patience).toBe(1);

      const listed = await anabranch(second, 'content', 'dead', '--json');
      const { dead } = JSON.parse(listed.stdout) as { dead: { hash: string; reason: string }[] };
      expect(dead).toMatchObject([{ hash, reason: 'unusable', kind: 'content', version: null }]);
      const doctor = await anabranch(second, 'doctor');
      expect(doctor.exitCode).toBe(1);
      expect(doctor.stdout).toContain('WRONG content: 1 content was given up by this node');
      expect(doctor.stdout).toContain('write the object anew; "anabranch content dead" lists');
      expect((await anabranch(second, 'content', 'retry', hash)).stdout).toContain('1 content is tried again');
      expect((await anabranch(second, 'content', 'retry', hash)).exitCode).toBe(3);
      expect((await anabranch(second, 'content', 'dead')).stdout).toBe('nothing was given up\n');
      expect((await second.client.status()).pendingContent).toBeGreaterThan(0);

      const scrubbed = await anabranch(second, 'content', 'scrub');
      // The other node's challenges may have come upon it first, and then this pass only finds what that left.
      expect(scrubbed.stdout).toMatch(/\nthe last whole one ended /);
      expect(await readdir(join(nodeDirectoryPaths(second.node.dir).blobs, 'quarantine'))).toHaveLength(1);
      await expect
        .poll(async () => (await second.client.content.scrub(30)).last, patience)
        .toMatchObject({ damaged: 0, incomplete: 0 });
      // What rotted is here again; what is made up is wanted, or given up once more.
      const lacking = async (): Promise<number> => {
        const { pendingContent, content: kept } = await second.client.status();
        return pendingContent + kept.dead;
      };
      await expect.poll(lacking, patience).toBe(1);
      await first.process.stop();
      const answer = await second.client.get('docs', 'large');
      const parts: Uint8Array[] = [];
      for await (const part of answer.body) parts.push(part);
      expect(toHex(blake3(Buffer.concat(parts)))).toBe(toHex(blake3(content)));
    });
  });

  it('that has rotted where nobody else has it is refused with its code, whichever of its chunks it is', async ({
    expect,
  }) => {
    await withNodes(1, async (nodes) => {
      const [only] = nodes as [RunningProcess];
      const contents = { second: letters(6_000_000), last: letters(6_000_000) };
      for (const [key, content] of Object.entries(contents)) {
        await only.client.put('docs', key, content);
        const chunks = await chunksOf(nodeDirectoryPaths(only.node.dir).blobs, content);
        expect(chunks.length).toBeGreaterThan(3);
        await rot((key === 'second' ? chunks[1] : chunks.at(-1)) as StoredFile);
      }
      const [answer, ...commands] = await Promise.all([
        fetch(`${only.node.url}/v1/objects/docs/second`, { headers: { authorization: `Bearer ${only.node.token}` } }),
        anabranch(only, 'get', 'docs/second'),
        anabranch(only, 'get', 'docs/last'),
      ]);
      expect([answer.status, await answer.json()]).toMatchObject([503, { code: 'content_unavailable' }]);
      for (const { exitCode, stderr } of commands) {
        expect(exitCode).toBe(1);
        expect(stderr).toMatch(/^anabranch: [^\n]* \(content_unavailable\); "doctor" tells [^\n]*\n$/);
      }
      const [second, last] = commands.map(({ stdout }) => stdout) as [string, string];
      expect(second).toBe('');
      expect(last.length).toBeGreaterThan(contents.last.length / 3);
      expect(contents.last.toString('latin1').startsWith(last)).toBe(true);
      const doctor = await anabranch(only, 'doctor');
      expect(doctor.exitCode).toBe(1);
      expect(doctor.stdout).toContain("WRONG content: 2 contents have rotted on this node's disk");
    });
  });
});

/** Bytes that are text as they are. */
const letters = (size: number): Buffer => Buffer.from(randomBytes(size / 2).toString('hex'));
