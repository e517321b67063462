import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { blobHashOf } from '../../crdt/digest.ts';
import type { PeerId } from '../../crdt/ids.ts';
import { AnswerPacker, AnswerParser } from '../../protocols/blobs/answers.ts';
import { BufferPool } from '../../protocols/blobs/buffer-pool.ts';
import { blobsProtocol } from '../../protocols/blobs/limits.ts';
import { decodeWant } from '../../protocols/blobs/messages.ts';
import { Channel } from '../../protocols/wire/channel.ts';
import { messageBytesMax } from '../../protocols/wire/frames.ts';
import { MeshError } from '../../src/ports/mesh-error.ts';
import { ContentMesh, type ContentNode, expectSame, pieces } from '../support/content-mesh.ts';
import { runs } from '../support/property-runs.ts';

const mebibyte = 1024 * 1024;

const answers = fc.array(
  fc.option(
    fc
      .tuple(fc.oneof(fc.nat({ max: 2_000 }), fc.nat({ max: 600_000 })), fc.nat({ max: 255 }))
      .map(([length, fill]) => new Uint8Array(length).fill(fill)),
    { nil: undefined },
  ),
  { maxLength: 20 },
);

describe('blob answers', () => {
  it('come out as they went in, wherever flushes fall', async () => {
    await fc.assert(
      fc.asyncProperty(answers, fc.infiniteStream(fc.boolean()), async (expected, flushes) => {
        const seen: (Uint8Array | undefined)[] = [];
        const parser = new AnswerParser(new BufferPool(), (blob) => seen.push(blob));
        const packer = new AnswerPacker(async (message) => {
          expect(message.length).toBeLessThanOrEqual(messageBytesMax);
          parser.push(message);
        });
        for (const answer of expected) {
          await packer.answer(answer);
          if (flushes.next().value === true) await packer.flush();
        }
        await packer.flush();
        const shape = (blobs: readonly (Uint8Array | undefined)[]): string[] =>
          blobs.map((blob) => (blob === undefined ? 'missing' : blobHashOf(blob)));
        expect(shape(seen)).toEqual(shape(expected));
      }),
      runs(0.5),
    );
  });

  it('and wants throw nothing but a violation for hostile bytes', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 64 }), { maxLength: 8 }), (messages) => {
        const parser = new AnswerParser(new BufferPool(), () => undefined);
        for (const message of messages) {
          decodeWant(message);
          try {
            parser.push(message);
          } catch (error) {
            expect(error).toMatchObject({ code: 'protocol_violation' });
            return;
          }
        }
      }),
      runs(5),
    );
  });
});

describe('content', () => {
  it('reads back as the slice of what was put, for any cut of the body and any range', async () => {
    const sizes = fc.oneof(fc.nat({ max: 40_000 }), fc.nat({ max: 3 * mebibyte }));
    await fc.assert(
      fc.asyncProperty(
        sizes,
        fc.integer({ min: 1, max: mebibyte }),
        fc.nat(),
        fc.nat(),
        async (size, cut, from, to) => {
          const mesh = new ContentMesh();
          const alice = await mesh.start('alice');
          const bytes = mesh.bytes(size);
          const content = await mesh.put(alice, pieces(bytes, Math.max(cut, size >> 10)));
          const [start = 0, end = 0] = [from % (size + 1), to % (size + 1)].sort((a, b) => a - b);
          expectSame(await mesh.read(alice, content, { start, end }), bytes.subarray(start, end));
          expectSame(await mesh.read(alice, content), bytes);
        },
      ),
      runs(0.3),
    );
  });

  it('becomes whole through partitions, restarts and power losses, and nothing else is stored', async () => {
    const blow = fc.record({
      afterMs: fc.integer({ min: 1, max: 40 }),
      kind: fc.constantFrom('partition' as const, 'restart' as const, 'power loss' as const),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(blow, { maxLength: 5 }), fc.string(), async (blows, seed) => {
        const mesh = new ContentMesh(seed);
        const alice = await mesh.start('alice');
        let bob = await mesh.start('bob');
        const bytes = mesh.bytes(5 * mebibyte);
        const [large, small] = [await mesh.put(alice, [bytes]), await mesh.put(alice, [bytes.subarray(0, 3_000)])];
        await mesh.want(bob, large, 'large');
        await mesh.want(bob, small, 'small');
        for (const { afterMs, kind } of blows) {
          await mesh.clock.advance(afterMs);
          bob = await strike(mesh, alice, bob, kind);
        }
        const survivor = bob;
        await mesh.until(() => survivor.plane.holds(large) && survivor.plane.holds(small));
        expect(survivor.plane.pending()).toBe(0);
        expectSame(await mesh.read(survivor, large), bytes);
        expectSame(await mesh.read(survivor, small), bytes.subarray(0, 3_000));
        const kept = await blobNames(alice);
        for (const name of await blobNames(survivor)) expect(kept).toContain(name);
      }),
      runs(0.2),
    );
  });

  it('arrives intact whatever the other peers send', async () => {
    const nonsense = fc.array(fc.uint8Array({ maxLength: 300 }), { minLength: 1, maxLength: 5 });
    const part = fc.oneof(
      nonsense,
      nonsense.map((messages) =>
        messages.map((message) => Uint8Array.of(1, 0, 0, message.length >> 8, message.length, ...message)),
      ),
      fc.constant([new Uint8Array(50)]),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(part, { minLength: 1, maxLength: 3 }), fc.boolean(), async (scripts, raw) => {
        const mesh = new ContentMesh();
        for (const [index, messages] of scripts.entries()) await hostile(mesh, `mallory${index}`, messages, raw);
        const alice = await mesh.start('alice');
        const bytes = mesh.bytes(mebibyte);
        const content = await mesh.put(alice, [bytes]);
        const bob = await mesh.start('bob');
        await mesh.want(bob, content);
        await mesh.until(() => bob.plane.holds(content));
        expectSame(await mesh.read(bob, content), bytes);
        expect(await blobNames(bob)).toEqual(await blobNames(alice));
      }),
      runs(0.3),
    );
  });
});

async function strike(
  mesh: ContentMesh,
  alice: ContentNode,
  bob: ContentNode,
  kind: 'partition' | 'restart' | 'power loss',
): Promise<ContentNode> {
  if (kind === 'restart') return mesh.start('bob', await mesh.stop(bob));
  if (kind === 'power loss') {
    await bob.network.stop();
    return mesh.start('bob', { kv: bob.kv.crash(mesh.random), blobs: bob.blobs.crash(mesh.random) });
  }
  mesh.hub.partition([alice.peer], [bob.peer]);
  await mesh.clock.advance(3_000);
  mesh.hub.heal();
  return bob;
}

async function blobNames(node: ContentNode): Promise<string[]> {
  const names: string[] = [];
  for await (const { hash } of node.blobs.list()) names.push(hash);
  return names.sort();
}

/** A peer that answers every want with these messages, in frames or raw. */
async function hostile(mesh: ContentMesh, name: string, messages: readonly Uint8Array[], raw: boolean): Promise<void> {
  const network = mesh.hub.join(name as PeerId);
  network.handle(blobsProtocol, async (stream) => {
    if (raw) {
      for (const message of messages) await stream.write(message.slice());
      return new Promise(() => undefined);
    }
    const channel = new Channel(stream, { clock: mesh.clock });
    while ((await channel.receive()) !== null) for (const message of messages) await channel.send(message.slice());
    throw new MeshError('stream_failed', 'done');
  });
  await network.start();
}
