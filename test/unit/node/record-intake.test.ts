import { beforeEach, expect, test } from 'vitest';
import type { PeerId } from '../../../crdt/ids.ts';
import { peerIdOf, type SignedDigest } from '../../../crdt/signature.ts';
import type { Version } from '../../../crdt/version.ts';
import { VirtualClock } from '../../../src/adapters/memory/clock.ts';
import { MemoryKv } from '../../../src/adapters/memory/kv.ts';
import { MemoryLog } from '../../../src/adapters/memory/log.ts';
import { MemoryMetrics } from '../../../src/adapters/memory/metrics.ts';
import { SeededRandom } from '../../../src/adapters/memory/random.ts';
import { InlineVerifier } from '../../../src/adapters/memory/verifier.ts';
import { EventLog } from '../../../src/node/event-log.ts';
import { Incarnation } from '../../../src/node/incarnation.ts';
import { ObjectStore } from '../../../src/node/object-store.ts';
import { RecordIntake } from '../../../src/node/record-intake.ts';
import { metaKey, versionKey } from '../../../src/node/storage-keys.ts';
import { VersionJournal } from '../../../src/node/version-journal.ts';
import { actorOf, forge, testCluster, testNode, write } from '../../support/versions.ts';

type IntakeDependencies = ConstructorParameters<typeof RecordIntake>[0];

const patienceMs = 60_000;
const writer = testNode('writer');
const peer = 'peer' as PeerId;

let clock: VirtualClock;
let kv: MemoryKv;
let objects: ObjectStore;
let intake: RecordIntake;
/** Under which name the node itself writes, should it be the writer. */
let incarnation: Incarnation;
/** How many signatures were verified together, and how many records were written in each turn of the event loop. */
let verified: number[];
let written: number[];
/** Holds back what the verifier says; the first call is the first here. */
let delays: Promise<void>[];

beforeEach(() => start(5));

function start(flushDelayMs: number): void {
  clock = new VirtualClock();
  kv = new MemoryKv(clock, { flushDelayMs });
  objects = new ObjectStore({ cluster: testCluster, slots: 16 });
  verified = [];
  written = [];
  delays = [];
  incarnation = new Incarnation({ kv, random: new SeededRandom('intake') }, writer.nodeId);
  const [log, metrics] = [new MemoryLog(), new MemoryMetrics()];
  const inline = new InlineVerifier();
  const member = { peerId: peerIdOf(writer.signer.publicKey), roles: ['storage'] };
  const journal = new VersionJournal({
    objects,
    events: new EventLog(kv),
    compactor: { changed: () => undefined },
    changed: () => undefined,
    log,
    metrics,
  });
  const counted = {
    append: (...[transaction, versions]: Parameters<VersionJournal['append']>) => {
      written.push(versions.length);
      return journal.append(transaction, versions);
    },
    publish: (...entry: Parameters<VersionJournal['publish']>) => journal.publish(...entry),
  };
  const dependencies = {
    kv,
    clock,
    verifier: {
      verify: async (signed: readonly SignedDigest[]) => {
        verified.push(signed.length);
        await delays[verified.length - 1];
        return inline.verify(signed);
      },
    },
    objects,
    journal: counted,
    control: {
      positionAt: () => ({ hash: testCluster, members: new Map([[writer.nodeId, member]]) }),
      followLater: () => undefined,
    },
    incarnation,
    content: { want: () => false, keepSmall: () => false, kick: () => undefined },
    log,
    metrics,
  };
  intake = new RecordIntake(dependencies as unknown as IntakeDependencies, testCluster);
}

const textsOf = (versions: readonly Version[]): Uint8Array[] => versions.map(({ text }) => Buffer.from(text));
const heldOf = (versions: readonly Version[]): number => versions.filter(({ id }) => objects.holds(kv, id)).length;

function line(length: number, key = 'line'): Version[] {
  const versions: Version[] = [];
  while (versions.length < length) versions.push(write(writer, versions.slice(-1), { key }));
  return versions;
}

test('the signatures of one message are verified together, and its records written a few in a turn', async () => {
  const versions = Array.from({ length: 100 }, (_, at) => write(writer, [], { key: `key ${at}` }));
  const report = await clock.run(intake.receive(textsOf(versions), peer), patienceMs);
  expect(report.added.map(({ id }) => id)).toEqual(versions.map(({ id }) => id));
  expect([report.faults, report.incomplete]).toEqual([[], []]);
  expect(verified).toEqual([100]);
  expect(written).toEqual([16, 16, 16, 16, 16, 16, 4]);
  expect(objects.counts(kv)).toMatchObject({ objects: 100, versions: 100 });
});

test('no more than a few transactions of one message wait for the disk', async () => {
  start(1_000);
  const versions = line(160);
  const received = intake.receive(textsOf(versions), peer);
  await clock.advance(900);
  expect([written.length > 0, written.length <= 4]).toEqual([true, true]);
  await clock.run(received, patienceMs);
  expect(heldOf(versions)).toBe(160);
});

test('messages get to the store in the order they came, whichever is verified first', async () => {
  const versions = line(60);
  const late = Promise.withResolvers<void>();
  delays = [late.promise];
  const [first, second] = [versions.slice(0, 30), versions.slice(30)];
  const both = Promise.all([first, second].map((part) => intake.receive(textsOf(part), peer)));
  await clock.advance(100);
  expect([verified, written]).toEqual([[30, 30], []]);
  late.resolve();
  const reports = await clock.run(both, patienceMs);
  expect(reports.map(({ incomplete }) => incomplete)).toEqual([[], []]);
  expect(heldOf(versions)).toBe(60);
});

test('what fails of one message keeps back neither the rest of it nor the next', async () => {
  const versions = line(20);
  const spoiled = Buffer.from(forge(testNode('stranger'), versions[19] as Version, {}));
  const texts = [...textsOf(versions.slice(0, 19)), spoiled, Buffer.from('{}')];
  const [report, next] = await clock.run(
    Promise.all([intake.receive(texts, peer), intake.receive(textsOf(versions.slice(19)), peer)]),
    patienceMs,
  );
  expect(report?.faults.map(({ code }) => code).sort()).toEqual(['bad_signature', 'malformed']);
  expect([report?.added.length, next?.added.length]).toEqual([19, 1]);
});

test('a merge of a version with its own ancestor is refused, in one message with them or after, also where a dot came twice', async () => {
  for (const twice of [false, true]) {
    const key = `merged ${twice}`;
    const versions = line(40, key);
    const [root, tip] = [versions[0] as Version, versions[39] as Version];
    const fork = write(writer, [root], { key, type: 'text/html' });
    const base = write(writer, [tip], { key, dot: { actor: actorOf(writer, 2), counter: 1 } });
    const merge = Buffer.from(forge(writer, base, { kind: 'merge', parents: [root.id, tip.id].sort() }));
    const before = twice ? [...versions, fork] : versions;
    const together = await clock.run(intake.receive([...textsOf(before), merge], peer), patienceMs);
    expect(together.faults.map(({ code }) => code)).toEqual(['not_an_antichain']);
    const after = await clock.run(intake.receive([merge], peer), patienceMs);
    expect(after.faults.map(({ code }) => code)).toEqual(['not_an_antichain']);
    expect(heldOf(before)).toBe(before.length);
  }
});

test('a record that comes with the grandparent of a parked parent is taken in with it', async () => {
  const [a, b, c] = line(3) as [Version, Version, Version];
  await clock.run(intake.receive(textsOf([b]), peer), patienceMs);
  await clock.run(intake.receive(textsOf([a, c]), peer), patienceMs);
  expect(heldOf([a, b, c])).toBe(3);
});

test('a record that is waited for does not wait for long messages that came before it', async () => {
  const long = (name: string): Version[] =>
    Array.from({ length: 500 }, (_, at) => write(writer, [], { key: `${name} ${at}` }));
  const messages = [long('first'), long('second')].map((part) => intake.receive(textsOf(part), peer));
  await clock.advance(20);
  const fromMs = clock.monotonicMs();
  const voted = textsOf([write(writer, [], { key: 'voted' })]);
  await clock.run(intake.receive(voted, 'other' as PeerId, [], { isUrgent: true }), patienceMs);
  expect(clock.monotonicMs() - fromMs).toBeLessThan(30);
  await clock.run(Promise.all(messages), patienceMs);
});

test('a record counts as damaged until the disk has taken its repair', async () => {
  const [version] = line(1) as [Version];
  const rotten = Buffer.from(version.text.slice(1));
  await clock.run(
    kv.transact((transaction) => transaction.put(versionKey(version.id), rotten)),
    patienceMs,
  );
  expect(objects.sound(kv, version.id)).toBeUndefined();
  kv.failTransactions('disk_full');
  await expect(clock.run(intake.repair(textsOf([version]), peer), patienceMs)).rejects.toThrow();
  expect(objects.damaged()).toEqual([version.id]);
  await clock.run(intake.repair(textsOf([version]), peer), patienceMs);
  expect(objects.damaged()).toEqual([]);
  expect(objects.sound(kv, version.id)?.id).toBe(version.id);
});

test('a version of its own that it has not makes the node write under another name, in the same transaction', async () => {
  await clock.run(incarnation.start(), patienceMs);
  await clock.run(incarnation.markCleanStop(), patienceMs);
  const lost = incarnation.actor;
  const other = write(writer, [], { key: 'other' });
  await clock.run(intake.receive(textsOf([other]), peer), patienceMs);
  expect(incarnation.actor).toBe(lost);
  const returned = write(writer, [], { dot: { actor: lost, counter: 1 } });
  await clock.run(intake.receive(textsOf([returned]), peer), patienceMs);
  expect(heldOf([returned])).toBe(1);
  const { actor, name } = incarnation;
  expect(actor).not.toBe(lost);
  expect(Buffer.from(kv.get(metaKey('incarnation')) ?? '').toString('utf8')).toBe(name);
  // A stop that was under way names what was left: the next start must not keep that.
  expect(kv.get(metaKey('clean-stop'))).toBeUndefined();
  await clock.run(intake.receive(textsOf([returned]), peer), patienceMs);
  expect(incarnation.actor).toBe(actor);
});
