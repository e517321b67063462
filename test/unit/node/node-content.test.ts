import { describe, expect, it, vi } from 'vitest';
import { blobHashOf } from '../../../crdt/digest.ts';
import type { BlobHash } from '../../../crdt/ids.ts';
import type { Content } from '../../../crdt/version.ts';
import { NodeContent } from '../../../src/node/node-content.ts';
import type { Subject } from '../../../src/replication/subject.ts';
import { ContentMesh, type ContentNode, subjectNamed } from '../../support/content-mesh.ts';

// A day of virtual time, on machines that may be busy.
vi.setConfig({ testTimeout: 60_000 });

const mebibyte = 1024 * 1024;

/** A node's content beside an index that knows of these versions once it has caught up. */
function shown(mesh: ContentMesh, node: ContentNode, versions: ReadonlyMap<BlobHash, string> = new Map()): NodeContent {
  let isCaughtUp = false;
  const subjects = {
    catchUp: async () => {
      isCaughtUp = true;
    },
    subjectOf: (manifest: BlobHash) => {
      const name = isCaughtUp ? versions.get(manifest) : undefined;
      return name === undefined ? undefined : (subjectNamed(name) as unknown as Subject);
    },
  };
  return new NodeContent({ content: node.plane, subjects, clock: mesh.clock, log: node.log });
}

/** Contents whose manifests are nonsense, wanted by a node: each is given up at once. */
async function madeUp(mesh: ContentMesh, server: ContentNode, wanting: ContentNode, count: number): Promise<Content[]> {
  const contents: Content[] = [];
  for (let index = 0; index < count; index += 1) {
    const bytes = mesh.bytes(20_000 + index);
    await mesh.run(server.blobs.put(blobHashOf(bytes), bytes));
    const content = { manifest: blobHashOf(bytes), size: 5_000_000, b3: '0'.repeat(64) };
    await mesh.want(wanting, content, `v${index}`);
    contents.push(content);
  }
  await mesh.until(() => wanting.plane.deadCount() === count);
  return contents;
}

/** Contents that nobody has, wanted by a node for more than a day. */
async function lost(mesh: ContentMesh, server: ContentNode, wanting: ContentNode, count: number): Promise<Content[]> {
  const contents: Content[] = [];
  for (let index = 0; index < count; index += 1) {
    const staged = await mesh.run(server.plane.ingest([mesh.bytes(300_000)], 'files'));
    staged.release(false);
    await mesh.want(wanting, staged.content, `v${index}`);
    contents.push(staged.content);
  }
  await mesh.clock.advance(25 * 3_600_000);
  expect(wanting.plane.deadCount()).toBe(count);
  return contents;
}

describe('what a node gave up', () => {
  it('is listed page by page, with a version of each', async () => {
    const mesh = new ContentMesh();
    const [alice, bob] = [await mesh.start('alice'), await mesh.start('bob')];
    const contents = await madeUp(mesh, alice, bob, 5);
    const content = shown(mesh, bob, new Map(contents.map(({ manifest }, index) => [manifest, `v${index}`])));
    const listed: string[] = [];
    const keys = new Set<string | undefined>();
    for (let after: string | null | undefined; after !== null; ) {
      const page = await mesh.run(content.deadLetters({ after, limit: 2 }));
      if (!page.ok) throw new Error(page.error.message);
      expect(page.value.count).toBe(5);
      for (const { hash, reason, version } of page.value.dead) {
        listed.push(hash);
        keys.add(version?.key);
        expect(reason).toBe('unusable');
      }
      after = page.value.next;
    }
    expect(listed).toEqual(contents.map(({ manifest }) => manifest).sort());
    expect([...keys].sort()).toEqual(['v0', 'v1', 'v2', 'v3', 'v4']);
  });

  it('ends with no next, also where a page is full', async () => {
    const mesh = new ContentMesh();
    const [alice, bob] = [await mesh.start('alice'), await mesh.start('bob')];
    await madeUp(mesh, alice, bob, 2);
    expect(await mesh.run(shown(mesh, bob).deadLetters({ limit: 2 }))).toMatchObject({
      value: { next: null, dead: [{ version: null }, { version: null }] },
    });
    expect(await mesh.run(shown(mesh, alice).deadLetters())).toMatchObject({
      value: { dead: [], count: 0, next: null },
    });
  });

  it('is tried again, one or all, and nothing else is', async () => {
    const mesh = new ContentMesh();
    const [alice, bob] = [await mesh.start('alice'), await mesh.start('bob')];
    const [first] = await lost(mesh, alice, bob, 3);
    const content = shown(mesh, bob);
    expect(await mesh.run(content.retryDead(first?.manifest))).toEqual({ ok: true, value: { retried: 1 } });
    expect(bob.plane.deadCount()).toBe(2);
    expect(await mesh.run(content.retryDead(first?.manifest))).toMatchObject({ error: { code: 'not_found' } });
    expect(await mesh.run(content.retryDead())).toEqual({ ok: true, value: { retried: 2 } });
    expect(await mesh.run(content.retryDead())).toEqual({ ok: true, value: { retried: 0 } });
    expect([bob.plane.deadCount(), bob.plane.pending()]).toEqual([0, 3]);
  });

  it.each([{ after: 'nonsense' }, { limit: 0 }, { limit: 1_001 }, { limit: 1.5 }])('refuses %j', async (input) => {
    const mesh = new ContentMesh();
    const content = shown(mesh, await mesh.start('alice'));
    expect(await content.deadLetters(input)).toMatchObject({ error: { code: 'invalid_request' } });
    expect(await content.retryDead('nonsense')).toMatchObject({ error: { code: 'invalid_request' } });
  });
});

describe('a scrub that is asked for', () => {
  it('is waited for as long as was asked and no longer, and goes on after that', async () => {
    const mesh = new ContentMesh();
    const alice = await mesh.start('alice', {}, { scrub: { bytesPerSecondMax: mebibyte } });
    await mesh.put(alice, [mesh.bytes(20 * mebibyte)]);
    const content = shown(mesh, alice);
    expect(content.scrubStatus()).toMatchObject({ running: false, last: null });
    expect(await mesh.run(content.scrubNow())).toMatchObject({ running: true, last: null });
    const startMs = mesh.clock.monotonicMs();
    expect(await mesh.run(content.scrubNow({ waitMs: 2_000 }))).toMatchObject({ running: true, last: null });
    expect(mesh.clock.monotonicMs() - startMs).toBe(2_000);
    const done = await mesh.run(content.scrubNow({ waitMs: 30_000 }));
    expect(done).toMatchObject({ running: false, last: { damaged: 0 } });
    expect(done.last?.bytes).toBeGreaterThan(20 * mebibyte);
    expect(mesh.clock.monotonicMs() - startMs).toBeLessThan(25_000);
    // One for all who asked: the next would take as long again.
    expect(alice.log.linesOf('content:scrubbed')).toHaveLength(1);
  });

  it('tells whoever waits that the disk cannot be read, and the log in any case', async () => {
    const mesh = new ContentMesh();
    const alice = await mesh.start('alice');
    const content = new NodeContent({
      content: Object.assign(Object.create(alice.plane), {
        scrubStatus: () => alice.plane.scrubStatus(),
        scrubNow: () => Promise.reject(new Error('the disk is on fire')),
      }),
      subjects: { catchUp: async () => undefined, subjectOf: () => undefined },
      clock: mesh.clock,
      log: alice.log,
    });
    await expect(content.scrubNow({ waitMs: 1_000 })).rejects.toThrow('on fire');
    expect(content.scrubStatus().running).toBe(false);
    expect(alice.log.linesOf('content:scrub_failed')).toHaveLength(1);
  });
});
