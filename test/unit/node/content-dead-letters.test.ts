import { describe, expect, it } from 'vitest';
import { blobHashOf } from '../../../crdt/digest.ts';
import type { Content } from '../../../crdt/version.ts';
import { deathOf, isToBeNoted, withFailedAttempt } from '../../../src/node/content/pull-failures.ts';
import { ContentMesh, type ContentNode, expectSame, subjectNamed } from '../../support/content-mesh.ts';

const hourMs = 3_600_000;

/** A content that nobody has: it was staged and never kept. */
async function lostContent(mesh: ContentMesh, node: ContentNode, size = 300_000): Promise<Content> {
  const staged = await mesh.run(node.plane.ingest([mesh.bytes(size)], 'files'));
  staged.release(false);
  return staged.content;
}

/** A content whose manifest is nonsense, on a node that serves it. */
async function madeUpContent(mesh: ContentMesh, node: ContentNode): Promise<Content> {
  const bytes = mesh.bytes(20_000);
  await mesh.run(node.blobs.put(blobHashOf(bytes), bytes));
  return { manifest: blobHashOf(bytes), size: 5_000_000, b3: '0'.repeat(64) };
}

describe('a job that fails', () => {
  it('is given up after 20 attempts over a day, is told of, listed and counted, and not before', async () => {
    const mesh = new ContentMesh();
    const [alice, bob] = [await mesh.start('alice'), await mesh.start('bob')];
    const content = await lostContent(mesh, alice);
    const told: unknown[] = [];
    bob.plane.onDead((subject, reason) => told.push([subject.key, reason]));
    await mesh.want(bob, content);
    await mesh.clock.advance(23 * hourMs);
    expect([bob.plane.pending(), bob.plane.deadCount(), told]).toEqual([1, 0, []]);
    await mesh.clock.advance(2 * hourMs);
    expect([bob.plane.pending(), bob.plane.deadCount(), told]).toEqual([0, 1, [['v1', 'unavailable']]]);
    const [letter] = bob.plane.deadLetters(10);
    expect(letter).toMatchObject({ hash: content.manifest, kind: 'content', reason: 'unavailable' });
    expect(letter?.attempts).toBeGreaterThanOrEqual(20);
    expect(bob.plane.deadLetters(10, content.manifest)).toEqual([]);
    expect(bob.metrics.value('anabranch_content_given_up_total', { reason: 'unavailable' })).toBe(1);
    expect(bob.metrics.value('anabranch_content_dead_jobs')).toBe(1);
  });

  it('counts on where it was after restarts', async () => {
    const mesh = new ContentMesh();
    const alice = await mesh.start('alice');
    let bob = await mesh.start('bob');
    const content = await lostContent(mesh, alice);
    await mesh.want(bob, content);
    for (let day = 0; day < 4; day++) {
      await mesh.clock.advance(8 * hourMs);
      bob = await mesh.start('bob', await mesh.stop(bob));
    }
    expect(bob.plane.deadCount()).toBe(1);
  });

  it('is not held against it while nobody at all is connected', async () => {
    const mesh = new ContentMesh();
    const [alice, bob] = [await mesh.start('alice'), await mesh.start('bob')];
    const content = await mesh.put(alice, [mesh.bytes(300_000)]);
    mesh.hub.partition([alice.peer], [bob.peer]);
    await mesh.clock.advance(1_000);
    await mesh.want(bob, content);
    await mesh.clock.advance(72 * hourMs);
    expect([bob.plane.pending(), bob.plane.deadCount()]).toEqual([1, 0]);
  });

  it('is given up at once when its manifest is made up, whoever else wants it', async () => {
    const mesh = new ContentMesh();
    const [alice, bob] = [await mesh.start('alice'), await mesh.start('bob')];
    const content = await madeUpContent(mesh, alice);
    await mesh.want(bob, content);
    await mesh.clock.advance(5_000);
    expect(bob.plane.deadLetters(1)).toMatchObject([{ reason: 'unusable', hash: content.manifest }]);
    await mesh.want(bob, content, 'v2');
    await mesh.start('carol');
    await mesh.clock.advance(60_000);
    expect([bob.plane.pending(), bob.plane.deadCount()]).toEqual([0, 1]);
  });

  it('is tried again on demand, one or all', async () => {
    const mesh = new ContentMesh();
    const [alice, bob] = [await mesh.start('alice'), await mesh.start('bob')];
    const [first, second] = [await madeUpContent(mesh, alice), await madeUpContent(mesh, alice)];
    await mesh.want(bob, first, 'v1');
    await mesh.want(bob, second, 'v2');
    await mesh.until(() => bob.plane.deadCount() === 2);
    expect(await mesh.run(bob.plane.retryDead(first.manifest))).toBe(1);
    const givenUp = (): number => bob.log.linesOf('content:given_up').length;
    await mesh.until(() => givenUp() === 3);
    expect(bob.plane.deadCount()).toBe(2);
    expect(await mesh.run(bob.plane.retryDead())).toBe(2);
    expect(await mesh.run(bob.plane.retryDead('a'.repeat(52) as never))).toBe(0);
    await mesh.until(() => givenUp() === 5);
    expect(bob.plane.deadCount()).toBe(2);
  });

  it('is tried again by itself when a holder comes, and is told to be stored then', async () => {
    const mesh = new ContentMesh();
    const [alice, bob] = [await mesh.start('alice'), await mesh.start('bob')];
    const bytes = mesh.bytes(300_000);
    const { content, release } = await mesh.run(alice.plane.ingest([bytes], 'files'));
    release(false);
    await mesh.want(bob, content);
    await mesh.clock.advance(26 * hourMs);
    expect(bob.plane.deadCount()).toBe(1);
    const carol = await mesh.start('carol');
    await mesh.put(carol, [bytes]);
    await mesh.until(() => bob.stored.length > 0);
    expect(bob.stored).toEqual([subjectNamed('v1')]);
    expect(bob.plane.deadCount()).toBe(0);
    expectSame(await mesh.read(bob, content), bytes);
  });

  it('holds up nobody else, and revives when another version wants the content', async () => {
    const mesh = new ContentMesh();
    const [alice, bob] = [await mesh.start('alice'), await mesh.start('bob')];
    const content = await lostContent(mesh, alice);
    await mesh.want(bob, content);
    await mesh.clock.advance(26 * hourMs);
    expect(bob.plane.deadCount()).toBe(1);
    await mesh.want(bob, content, 'v2');
    expect([bob.plane.pending(), bob.plane.deadCount()]).toEqual([1, 0]);
  });
});

describe('a run of failed attempts', () => {
  it('grows with time and attempts, goes on from what was written down, and is written down every hour', () => {
    let run = withFailedAttempt(undefined, { attempts: 7, ms: 5 * hourMs }, 1_000, false);
    expect(run).toMatchObject({ attempts: 8, ms: 5 * hourMs });
    expect(isToBeNoted(run)).toBe(false);
    run = withFailedAttempt(run, undefined, 1_000 + hourMs, false);
    expect(run).toMatchObject({ attempts: 9, ms: 6 * hourMs });
    expect(isToBeNoted(run)).toBe(true);
    const alone = withFailedAttempt(run, undefined, 100 * hourMs, true);
    expect(alone).toMatchObject({ attempts: 9, ms: 6 * hourMs });
    expect(deathOf(alone, undefined, false)).toBeUndefined();
    expect(deathOf({ ...run, attempts: 20, ms: 24 * hourMs }, 'io_error', true)).toBe('failing');
    expect(deathOf({ ...run, attempts: 19, ms: 24 * hourMs }, undefined, false)).toBeUndefined();
  });
});
