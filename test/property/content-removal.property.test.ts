import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { chunkingProfiles } from '../../crdt/control/namespace-policy.ts';
import type { BlobHash } from '../../crdt/ids.ts';
import { decodeManifest } from '../../crdt/manifest.ts';
import type { Content } from '../../crdt/version.ts';
import type { StagedContent } from '../../src/node/content/content-plane.ts';
import { ContentMesh, type ContentNode, expectSame, joined, subjectNamed } from '../support/content-mesh.ts';
import { runs } from '../support/property-runs.ts';
import { storedBlobs } from '../support/stored-blobs.ts';

const small = { chunkingOf: () => chunkingProfiles.small };
const blockBytes = 150_000;

/** Contents that share chunks: made of the same few blocks, one of them small, some a chunk of others by themselves. */
function bodiesOf(mesh: ContentMesh): Uint8Array[] {
  const block = Array.from({ length: 4 }, () => mesh.bytes(blockBytes));
  const made = (...indexes: number[]): Uint8Array =>
    new Uint8Array(Buffer.concat(indexes.map((index) => block[index] as Uint8Array)));
  const tiny = mesh.bytes(500);
  return [
    made(0, 1, 2),
    made(0, 1, 3),
    made(3, 0, 1, 2),
    made(1),
    made(1, 1, 1),
    tiny,
    (block[0] as Uint8Array).slice(0, 20_000),
    mesh.bytes(20_000),
  ];
}

const operation = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('put' as const), which: fc.nat() }) },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('drop' as const), which: fc.nat() }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('pull' as const), which: fc.nat() }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('read' as const), which: fc.nat() }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('upload' as const), which: fc.nat() }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('finish' as const), keep: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('restart' as const, 'power loss' as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('scrub' as const) }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('wait' as const), ms: fc.nat({ max: 40 }) }) },
);
type Operation = typeof operation extends fc.Arbitrary<infer T> ? T : never;

/** A node under test beside one that has everything, and what the node is to have. */
class Play {
  readonly mesh: ContentMesh;
  readonly bodies: readonly Uint8Array[];
  readonly contents: Content[] = [];
  readonly kept = new Set<number>();
  alice!: ContentNode;
  #uploads: { readonly which: number; readonly staged: Promise<StagedContent>; readonly go: () => void }[] = [];
  #reads: Promise<void>[] = [];

  constructor(seed: string) {
    this.mesh = new ContentMesh(seed);
    this.bodies = bodiesOf(this.mesh);
  }

  async begin(): Promise<void> {
    const bob = await this.mesh.start('bob', {}, small);
    for (const body of this.bodies) this.contents.push(await this.mesh.put(bob, [body]));
    this.alice = await this.#start({});
  }

  async step(step: Operation): Promise<void> {
    const { mesh, alice } = this;
    const which = 'which' in step ? step.which % this.bodies.length : 0;
    const content = this.contents[which] as Content;
    if (step.kind === 'wait') await mesh.clock.advance(step.ms);
    if (step.kind === 'put') await this.#keep(which, await mesh.run(alice.plane.ingest(this.#pieces(which), 'files')));
    if (step.kind === 'drop') {
      this.kept.delete(which);
      await mesh.run(alice.kv.transact((transaction) => alice.plane.drop(transaction, content.manifest)));
      alice.plane.kick();
    }
    if (step.kind === 'pull') {
      this.kept.add(which);
      const subject = subjectNamed(`v${which}`);
      await mesh.run(alice.kv.transact((transaction) => alice.plane.want(transaction, content, subject)));
      alice.plane.kick();
    }
    if (step.kind === 'read') this.#reads.push(this.#read(content, this.bodies[which] as Uint8Array));
    if (step.kind === 'upload') this.#upload(which);
    if (step.kind === 'finish') await this.#finish(step.keep);
    if (step.kind === 'restart' || step.kind === 'power loss') await this.#restart(step.kind);
    if (step.kind === 'scrub') await this.scrub();
  }

  /** Nothing rots here, so what the scrub would have to mend was broken by the node itself. */
  async scrub(): Promise<void> {
    const { damaged, incomplete } = await this.mesh.run(this.alice.plane.scrubNow(new AbortController().signal));
    expect({ damaged, incomplete }).toEqual({ damaged: 0, incomplete: 0 });
  }

  /** Everything comes to rest. */
  async settle(): Promise<void> {
    while (this.#uploads.length > 0) await this.#finish(false);
    await this.mesh.run(Promise.all(this.#reads));
    await this.mesh.until(() =>
      [...this.kept].every((which) => this.alice.plane.holds(this.contents[which] as Content)),
    );
    await this.mesh.clock.advance(60_000);
  }

  /** On a disk that takes its time to look at a file and to remove it, so that everything else can come in between. */
  async #start(disk: Parameters<ContentMesh['start']>[1]): Promise<ContentNode> {
    const { clock } = this.mesh;
    const alice = await this.mesh.start('alice', disk, small);
    const [sizeOf, remove] = [alice.blobs.sizeOf.bind(alice.blobs), alice.blobs.delete.bind(alice.blobs)];
    alice.blobs.sizeOf = async (hash) => {
      await clock.sleep(1);
      return sizeOf(hash);
    };
    alice.blobs.delete = async (hash) => {
      await clock.sleep(3);
      await remove(hash);
      await clock.sleep(3);
    };
    return alice;
  }

  #pieces(which: number): Uint8Array[] {
    return [this.bodies[which] as Uint8Array];
  }

  async #keep(which: number, staged: StagedContent): Promise<void> {
    const { mesh, alice } = this;
    await mesh.run(alice.kv.transact((transaction) => alice.plane.keep(transaction, staged)));
    staged.release(true);
    this.kept.add(which);
  }

  async #read(content: Content, expected: Uint8Array): Promise<void> {
    const opened = await this.alice.plane.open(content);
    if (opened.ok) expectSame(await joined(opened.value), expected);
  }

  /** An upload whose last bytes come when it is told to finish. */
  #upload(which: number): void {
    const gate = Promise.withResolvers<void>();
    const body = this.bodies[which] as Uint8Array;
    const pieces = async function* (): AsyncGenerator<Uint8Array> {
      yield body.subarray(0, body.length - 1);
      await gate.promise;
      yield body.subarray(body.length - 1);
    };
    const staged = this.alice.plane.ingest(pieces(), 'files');
    staged.catch(() => undefined);
    this.#uploads.push({ which, staged, go: gate.resolve });
  }

  async #finish(keep: boolean): Promise<void> {
    const upload = this.#uploads.shift();
    if (upload === undefined) return;
    upload.go();
    const staged = await this.mesh.run(upload.staged);
    if (keep) await this.#keep(upload.which, staged);
    else staged.release(false);
  }

  async #restart(kind: 'restart' | 'power loss'): Promise<void> {
    const { mesh } = this;
    while (this.#uploads.length > 0) await this.#finish(false);
    await mesh.run(Promise.all(this.#reads.splice(0)));
    const disk =
      kind === 'restart'
        ? await mesh.stop(this.alice)
        : { kv: this.alice.kv.crash(mesh.random), blobs: this.alice.blobs.crash(mesh.random) };
    if (kind === 'power loss') await this.alice.network.stop();
    this.alice = await this.#start(disk);
  }
}

/** All that contents consist of, by what the node itself has stored. */
async function reachable(node: ContentNode, contents: readonly Content[]): Promise<Set<BlobHash>> {
  const found = new Set<BlobHash>();
  const stored = await storedBlobs(node);
  const visit = (hash: BlobHash): void => {
    found.add(hash);
    const manifest = decodeManifest(stored.get(hash) ?? new Uint8Array());
    if (!manifest.ok) throw new Error(`the manifest ${hash} is not here: ${manifest.error}`);
    if (manifest.value.kind === 'tree') for (const part of manifest.value.parts) visit(part.hash);
    else for (const chunk of manifest.value.chunks) found.add(chunk.hash);
  };
  for (const { manifest } of contents) visit(manifest);
  return found;
}

describe('dropping contents', () => {
  it('removes what nothing else needs, and never a blob that something does', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(operation, { maxLength: 40 }), fc.string(), async (steps, seed) => {
        const play = new Play(seed);
        await play.begin();
        for (const step of steps) await play.step(step);
        await play.settle();
        const { mesh, alice } = play;
        const kept = [...play.kept].map((which) => play.contents[which] as Content);
        await play.scrub();
        await mesh.clock.advance(10_000);
        expect([...(await storedBlobs(alice)).keys()].sort()).toEqual([...(await reachable(alice, kept))].sort());
        // Nobody else is there any more, so what is read is what is here.
        mesh.hub.partition(['alice' as never], ['bob' as never]);
        for (const which of play.kept)
          expectSame(await mesh.read(alice, play.contents[which] as Content), play.bodies[which] as Uint8Array);
        for (const which of play.kept) {
          await mesh.run(
            alice.kv.transact((transaction) =>
              alice.plane.drop(transaction, (play.contents[which] as Content).manifest),
            ),
          );
        }
        alice.plane.kick();
        await mesh.clock.advance(60_000);
        expect([...(await storedBlobs(alice)).keys()]).toEqual([]);
      }),
      runs(0.3),
    );
  });
});
