import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { assembleCertificate, type Certificate, decodeCertificate, type Statement } from '../../crdt/certificate.ts';
import { supersedes } from '../../crdt/certificate-order.ts';
import { blake3, toBase32 } from '../../crdt/digest.ts';
import type { DocId, VersionId } from '../../crdt/ids.ts';
import type { Version } from '../../crdt/version.ts';
import { VirtualClock } from '../../src/adapters/memory/clock.ts';
import { MemoryKv } from '../../src/adapters/memory/kv.ts';
import { SeededRandom } from '../../src/adapters/memory/random.ts';
import { ObjectStore } from '../../src/node/object-store.ts';
import { versionKey } from '../../src/node/storage-keys.ts';
import { SyncView } from '../../src/node/sync-view.ts';
import { runs } from '../support/property-runs.ts';
import { accepted, actorOf, testCluster, testNode, write } from '../support/versions.ts';

const names = ['north', 'east', 'south'] as const;
const [north, east, south] = names.map((name) => testNode(name)) as [
  ReturnType<typeof testNode>,
  ReturnType<typeof testNode>,
  ReturnType<typeof testNode>,
];

/** One object with branches; parents come first. */
const history: readonly Version[] = (() => {
  const root = write(north, []);
  const left = write(north, [root]);
  const right = write(east, [root]);
  const other = write(south, []);
  const joined = write(
    south,
    [left, right].sort((a, b) => (a.id < b.id ? -1 : 1)),
    { kind: 'merge' },
  );
  return [root, left, right, other, joined];
})();
const doc = new ObjectStore({ cluster: testCluster, slots: 1 }).documentId(
  history[0]?.record.ns as string,
  history[0]?.record.key as string,
);
const link = (text: string): string => toBase32(blake3(Buffer.from(text)));

/** Any certificate that coordinators who lost their disks, or lie, could make of the object; signatures do not matter here. */
const certificate = fc
  .record({
    version: fc.nat(history.length - 1),
    position: fc.integer({ min: 1, max: 3 }),
    epoch: fc.integer({ min: 1, max: 2 }),
    counter: fc.integer({ min: 1, max: 3 }),
    proposer: fc.constantFrom(north, east, south),
    previous: fc.constantFrom('one', 'another'),
  })
  .map(({ version, position, epoch, counter, proposer, previous }): Certificate => {
    const statement: Statement = {
      v: 1,
      register: doc,
      epoch,
      position,
      head: (history[version] as Version).id,
      previous: position === 1 ? null : link(previous),
      ballot: { counter, proposer: actorOf(proposer) },
    };
    return assembleCertificate(statement, [[north.nodeId, new Uint8Array(64)]]);
  });

describe('the order of certificates', () => {
  test('is total over values: of two that differ, exactly one supersedes the other', () => {
    fc.assert(
      fc.property(certificate, certificate, ({ statement: a }, { statement: b }) => {
        const isSame = a.position === b.position && a.head === b.head && a.previous === b.previous;
        expect(Number(supersedes(a, b)) + Number(supersedes(b, a))).toBe(isSame ? 0 : 1);
      }),
    );
  });

  test('never leads back: what is superseded in steps does not supersede the last again', () => {
    fc.assert(
      fc.property(certificate, certificate, certificate, ({ statement: a }, { statement: b }, { statement: c }) => {
        if (supersedes(a, b) && supersedes(b, c)) expect(supersedes(c, a)).toBe(false);
      }),
      runs(5),
    );
  });
});

/** What a node keeps of the object, and how sync sees it. */
class Keeper {
  readonly kv = new MemoryKv(new VirtualClock());
  objects = new ObjectStore({ cluster: testCluster, slots: 1 });
  readonly view: SyncView;

  constructor() {
    const nothing = undefined as never;
    this.view = new SyncView({
      kv: this.kv,
      objects: this.objects,
      incarnation: nothing,
      content: nothing,
      slots: nothing,
      trees: nothing,
    });
  }

  async append(version: Version): Promise<void> {
    if (this.objects.holds(this.kv, version.id)) return;
    for (const parent of version.record.parents) await this.append(history.find(({ id }) => id === parent) as Version);
    await this.kv.transact((transaction) => this.objects.append(transaction, version));
  }

  certify(given: Certificate): Promise<unknown> {
    return this.kv.transact((transaction) => this.objects.certify(transaction, given));
  }

  get confirmed(): VersionId | undefined {
    return this.objects.object(this.kv, doc as DocId)?.confirmed?.id;
  }

  get digest(): string | undefined {
    const digest = this.view.digestOf(doc);
    return digest && toBase32(digest);
  }

  /** As many as the confirmed head and its ancestors are. */
  checkCount(): void {
    const ids = new Set<VersionId>();
    const stack = this.confirmed === undefined ? [] : [this.confirmed];
    for (let id = stack.pop(); id !== undefined; id = stack.pop()) {
      ids.add(id);
      stack.push(...(history.find((version) => version.id === id)?.record.parents ?? []));
    }
    expect(this.objects.counts(this.kv).confirmed).toBe(ids.size);
  }

  /** Asks the other as sync does, of a document whose digest is another there. */
  async pull(other: Keeper): Promise<void> {
    if (this.digest === other.digest) return;
    for (const text of other.view.certificatesBeside(doc, this.view.confirmedOf(doc))) {
      await this.certify(accepted(decodeCertificate(text)));
    }
  }
}

test.each([
  ['the first', 1],
  ['a later', 2],
])(
  '%s certificate that came while the record of its head was damaged counts when it comes again',
  async (_, position) => {
    const keeper = new Keeper();
    const [root, left] = history as [Version, Version];
    await keeper.append(left);
    const statement: Statement = {
      v: 1,
      register: doc,
      epoch: 1,
      position: 1,
      head: root.id,
      previous: null,
      ballot: { counter: 1, proposer: actorOf(north) },
    };
    const [first, next] = [
      statement,
      { ...statement, position, head: left.id, previous: position === 1 ? null : link('one') },
    ].map((each) => assembleCertificate(each, [[north.nodeId, new Uint8Array(64)]])) as [Certificate, Certificate];
    const before = position === 1 ? [] : [first];
    for (const each of before) await keeper.certify(each);
    const sound = keeper.kv.get(versionKey(left.id));
    keeper.kv.rot(versionKey(left.id), new SeededRandom('rot'));
    keeper.objects = new ObjectStore({ cluster: testCluster, slots: 1 });
    await keeper.certify(next);
    expect(keeper.confirmed).toBe(position === 1 ? undefined : root.id);
    const other = new Keeper();
    for (const each of [...before, next]) await other.certify(each);
    await other.append(left);
    expect(keeper.digest).not.toBe(other.digest);
    await keeper.kv.transact((transaction) => keeper.objects.restore(transaction, left));
    expect(keeper.kv.get(versionKey(left.id))).toEqual(sound);
    await keeper.pull(other);
    expect(keeper.confirmed).toBe(left.id);
    expect(keeper.digest).toBe(other.digest);
    keeper.checkCount();
  },
);

test('a version of a transaction that failed is not taken for one that is here', async () => {
  const keeper = new Keeper();
  const [root] = history as [Version];
  const statement: Statement = {
    v: 1,
    register: doc,
    epoch: 1,
    position: 1,
    head: root.id,
    previous: null,
    ballot: { counter: 1, proposer: actorOf(north) },
  };
  const certified = assembleCertificate(statement, [[north.nodeId, new Uint8Array(64)]]);
  await keeper.certify(certified);
  const failing = keeper.kv.transact((transaction) => {
    expect(keeper.objects.append(transaction, root).isConfirmed).toBe(true);
    throw new Error('the disk is full');
  });
  await expect(failing).rejects.toThrow('full');
  expect(keeper.objects.version(keeper.kv, root.id)).toBeUndefined();
});

/** More than any chain of certificates that supersede one another here. */
const roundsMax = 50;

describe('nodes that were told of certificates in any order, some of them at the same position', () => {
  const told = fc.record({
    /** The last version is lost to all when drawn so. */
    versions: fc.integer({ min: 1, max: history.length }),
    certificates: fc.array(certificate, { maxLength: 8 }),
    orders: fc.array(fc.array(fc.nat(1_000), { maxLength: 14 }), { minLength: 3, maxLength: 3 }),
  });

  test('have the same confirmed head and digest once sync finds nothing that differs', async () => {
    await fc.assert(
      fc.asyncProperty(told, async ({ versions, certificates, orders }) => {
        const held = history.slice(0, versions);
        const steps = [
          ...held.map((version) => (keeper: Keeper) => keeper.append(version)),
          ...certificates.map((each) => (keeper: Keeper) => keeper.certify(each)),
        ];
        const keepers = orders.map(() => new Keeper());
        for (const [index, keeper] of keepers.entries()) {
          for (const step of orders[index] ?? []) await steps[step % steps.length]?.(keeper);
          for (const version of held) await keeper.append(version);
          keeper.checkCount();
        }
        for (let round = 0; round < roundsMax; round += 1) {
          for (const keeper of keepers) for (const other of keepers) await keeper.pull(other);
        }
        for (const keeper of keepers) {
          keeper.checkCount();
          expect(keeper.digest).toBe(keepers[0]?.digest);
          expect(keeper.confirmed).toBe(keepers[0]?.confirmed);
        }
      }),
      runs(2),
    );
  });

  test('have the head of the greatest certificate, when each value was certified once', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(certificate, {
          maxLength: 8,
          selector: ({ statement: { position, head, previous } }) => `${position} ${head} ${previous}`,
        }),
        async (certificates) => {
          const keeper = new Keeper();
          for (const version of history) await keeper.append(version);
          for (const each of certificates) await keeper.certify(each);
          const greatest = certificates.find((each) =>
            certificates.every((other) => each === other || supersedes(each.statement, other.statement)),
          );
          expect(keeper.confirmed).toBe(greatest?.statement.head);
        },
      ),
    );
  });
});
