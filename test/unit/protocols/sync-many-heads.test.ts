import { describe, expect, it } from 'vitest';
import { blobHashOf } from '../../../crdt/digest.ts';
import { walkMissing } from '../../../crdt/graph-difference.ts';
import type { DocId, VersionId } from '../../../crdt/ids.ts';
import { SlotSet } from '../../../crdt/slot-set.ts';
import { SyncClient, type SyncSink } from '../../../protocols/sync/client.ts';
import { haveHeadsMax } from '../../../protocols/sync/messages.ts';
import type { SyncSource } from '../../../protocols/sync/server.ts';
import { syncExchange } from '../../support/sync-exchange.ts';

/** More heads than a question names and an answer carries, so that what is held and not named would fill an answer. */
const branches = 7_000;
const idOfText = (text: Uint8Array): VersionId => blobHashOf(text) as string as VersionId;
const slots = { kept: SlotSet.all(16), whole: SlotSet.all(16) };

/** A document whose branches all come off one version, and who has which of them. */
class Store {
  readonly texts = new Map<VersionId, Uint8Array>();
  readonly root: VersionId;

  constructor(doc: string, count: number, isHeld: (branch: number) => boolean = () => true) {
    this.root = this.add(Buffer.from(doc));
    for (let branch = 0; branch < count; branch += 1) if (isHeld(branch)) this.add(Buffer.from(`${doc} ${branch}`));
  }

  add(text: Uint8Array): VersionId {
    const id = idOfText(text);
    this.texts.set(id, text);
    return id;
  }

  heads(): VersionId[] {
    const branched = [...this.texts.keys()].filter((id) => id !== this.root);
    return branched.length === 0 ? [...this.texts.keys()] : branched.sort();
  }

  link(id: VersionId) {
    if (!this.texts.has(id)) return undefined;
    return id === this.root ? { parents: [], generation: 1 } : { parents: [this.root], generation: 2 };
  }
}

type Documents = ReadonlyMap<DocId, Store>;

function sourceOf(documents: Documents): SyncSource {
  const storeOf = (id: VersionId): Store | undefined => documents.values().find(({ texts }) => texts.has(id));
  return {
    slots: () => slots,
    headsOf: (doc: DocId) => documents.get(doc)?.heads() ?? [],
    walkBeyond: (heads: readonly VersionId[], have: readonly VersionId[]) =>
      walkMissing(heads, have, (id) => storeOf(id)?.link(id)),
    parentsOf: (id: VersionId) => storeOf(id)?.link(id)?.parents,
    recordText: (id: VersionId) => storeOf(id)?.texts.get(id),
    smallContent: () => undefined,
    certificatesBeside: () => [],
  } as Partial<SyncSource> as SyncSource;
}

/** What comes goes to the one document that is asked for. */
function sinkOf(documents: Documents): SyncSink {
  const all = [...documents.values()];
  return {
    headsOf: (doc: DocId) => documents.get(doc)?.heads() ?? [],
    confirmedOf: () => undefined,
    receive: async (texts: readonly Uint8Array[]) => {
      const fresh = texts.filter((text) => !all.some((store) => store.texts.has(idOfText(text))));
      for (const text of fresh) {
        const name = Buffer.from(text).toString().split(' ')[0];
        all.find((store) => Buffer.from(store.texts.get(store.root) ?? []).toString() === name)?.add(text);
      }
      return fresh.length;
    },
  } as Partial<SyncSink> as SyncSink;
}

/** Has an asker take in what a peer has of documents, in one question if it fits. */
async function pull(theirs: Documents, ours: Documents): Promise<SyncClient['round']> {
  const { channel, served } = syncExchange(sourceOf(theirs));
  const client = new SyncClient(channel, sinkOf(ours));
  await client.pullDocuments([...theirs.keys()]);
  await channel.end();
  await served;
  return client.round;
}

const docOf = (name: string): DocId => blobHashOf(Buffer.from(`id of ${name}`)) as string as DocId;

describe('a document with more heads than a question may name', () => {
  it.each<[string, (branch: number) => boolean]>([
    ['has none of it but where it began', () => false],
    ['has most of it', (branch) => branch % 50 !== 0],
    ['has so much that what it does not name fills an answer', (branch) => branch < haveHeadsMax + 4_096 + 300],
    ['has a fifth of it', (branch) => branch % 5 === 0],
  ])('comes whole to an asker that %s', async (_, isHeld) => {
    const doc = docOf('one');
    const theirs = new Store('one', branches);
    const ours = new Store('one', branches, isHeld);
    const lacking = branches + 1 - ours.texts.size;
    const round = await pull(new Map([[doc, theirs]]), new Map([[doc, ours]]));
    expect(ours.texts.size).toBe(branches + 1);
    expect(round.recordsReceived).toBe(lacking);
  });

  it('keeps no other document of the same question from coming whole', async () => {
    const names = ['one', 'two', 'three', 'four'];
    const storesOf = (isHeld: (branch: number) => boolean) =>
      new Map(names.map((name) => [docOf(name), new Store(name, 6_000, isHeld)] as const));
    const [theirs, ours] = [storesOf(() => true), storesOf((branch) => branch % 100 !== 0)];
    await pull(theirs, ours);
    for (const store of ours.values()) expect(store.texts.size).toBe(6_001);
  });
});
