import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  assembleCertificate,
  type Certificate,
  encodeCertificate,
  linkHash,
  type Statement,
  signStatement,
} from '../../../../crdt/certificate.ts';
import { blake3, toBase32 } from '../../../../crdt/digest.ts';
import type { Actor, ClusterId, DocId, NodeId, VersionId } from '../../../../crdt/ids.ts';
import { documentId } from '../../../../crdt/object-document.ts';
import { type Signer, signerFromSeed } from '../../../../crdt/signature.ts';
import { draftVersion, signVersion, type Version } from '../../../../crdt/version.ts';
import { certificateHint, encodeGossip, gossipTopic, hintOf } from '../../../../protocols/gossip/messages.ts';
import {
  decodeSyncRequest,
  encodeSyncMessage,
  type SyncRequest,
  syncProtocol,
} from '../../../../protocols/sync/messages.ts';
import { Channel } from '../../../../protocols/wire/channel.ts';
import type { MemoryNetwork } from '../../../../src/adapters/memory/network.ts';
import { ObjectStore } from '../../../../src/node/object-store.ts';
import { Mesh, type TestNode, unwrap } from '../../../support/mesh.ts';

let mesh: Mesh;
let alice: TestNode;
let network: MemoryNetwork;
let mallory: Signer;
let malloryId: NodeId;
let coordinator: Signer;
let cluster: ClusterId;
let doc: DocId;

beforeEach(async () => {
  mesh = new Mesh(['alice', 'mallory'], 'certificates', ['alice']);
  alice = await mesh.startNode('alice');
  const member = await mesh.impersonate('mallory');
  await mesh.settle(100);
  network = member.network;
  mallory = member.signer;
  malloryId = member.member.nodeId;
  coordinator = signerFromSeed(mesh.sim.keySeed('alice'));
  cluster = mesh.sim.cluster;
  doc = documentId(cluster, 'test', 'plan');
});
afterEach(async () => {
  await network.stop();
  await mesh.stop();
});

/** Mallory runs no node that could prove a copy, so nothing is confirmed by itself here. */
const confirm = async () => unwrap(await mesh.run(alice.node.confirm({ ns: 'test', key: 'plan' })));

const headOf = (name: string): string => toBase32(blake3(Buffer.from(name)));

/** A certificate of the plan as the coordinator, or somebody else, would sign it. */
function certify(changes: Partial<Statement>, by: { nodeId: NodeId; signer: Signer } = own()): Certificate {
  const proposer = `${by.nodeId}.${'a'.repeat(13)}` as Actor;
  const ballot = { counter: 1, proposer };
  const statement = {
    v: 1,
    register: doc,
    epoch: 1,
    position: 1,
    previous: null,
    head: '',
    ballot,
    ...changes,
  } as Statement;
  return assembleCertificate(statement, [[by.nodeId, signStatement(statement, by.signer, cluster)]]);
}

const own = () => ({ nodeId: alice.nodeId, signer: coordinator });
const stranger = () => ({ nodeId: malloryId, signer: mallory });

/** The certificate that would follow another. */
const following = ({ statement }: Certificate, head: string): Certificate =>
  certify({ position: statement.position + 1, previous: linkHash(cluster, doc, statement), head });

async function gossip(certificate: Certificate): Promise<void> {
  const hint = certificateHint(doc, certificate.statement.head as VersionId, encodeCertificate(certificate));
  await publish(encodeGossip([hint]));
}

async function publish(message: Uint8Array): Promise<void> {
  const slot = new ObjectStore({ cluster, slots: 16 }).slotOf(doc);
  await network.publish(gossipTopic(cluster, slot), message);
  await mesh.settle(50);
}

/** A version by mallory. */
function forge(parents: readonly Version[], counter: number): Version {
  const dot = { actor: `${malloryId}.${'a'.repeat(13)}` as Actor, counter };
  const draft = draftVersion(parents, {
    ns: 'test',
    key: 'plan',
    kind: 'delete',
    dot,
    content: null,
    type: '',
    meta: {},
    author: 'admin',
    node: malloryId,
    time: 0,
    log: { seq: 0, hash: cluster },
  });
  if (!draft.ok) throw new Error(draft.error.message);
  return signVersion(draft.value, mallory, cluster);
}

const sendRecord = ({ id, text }: Version): Promise<void> =>
  publish(encodeGossip([hintOf(doc, [id], [Buffer.from(text)])]));
const refused = (reason: string): number => alice.metrics.value('anabranch_certificates_refused_total', { reason });
const graph = () => mesh.graph('alice', 'plan');

describe('a certificate from a peer', () => {
  test('is taken when it holds, and confirms its head', async () => {
    const version = forge([], 1);
    await sendRecord(version);
    expect(graph().confirmedHead).toBe(null);
    await gossip(certify({ head: version.id }));
    expect(graph()).toMatchObject({ confirmedHead: version.id, preferred: version.id });
    expect(graph().versions[0]?.state).toBe('confirmed');
    expect((await mesh.eventsOf('alice', 'confirmed')).map(({ data }) => data)).toEqual([
      { ns: 'test', key: 'plan', version: version.id, position: 1 },
    ]);
  });

  test('is refused when no majority of the coordinators signed it', async () => {
    const version = forge([], 1);
    await sendRecord(version);
    await gossip(certify({ head: version.id }, stranger()));
    expect(graph().confirmedHead).toBe(null);
    expect(refused('fault')).toBe(1);
    expect(mesh.get('alice').log.linesOf('certificate:refused')).toHaveLength(1);
  });

  test('changes nothing when a higher position is known', async () => {
    const written = await mesh.put('alice', 'plan', 'one');
    await confirm();
    const next = await mesh.put('alice', 'plan', 'two');
    const asked = await confirm();
    const rows = [...alice.kv.range({ start: Uint8Array.of(2), end: Uint8Array.of(3) })];
    await gossip(certify({ head: written.version }));
    await gossip(asked.certificate);
    expect([...alice.kv.range({ start: Uint8Array.of(2), end: Uint8Array.of(3) })]).toEqual(rows);
    expect(graph().confirmedHead).toBe(next.version);
    expect(refused('fault')).toBe(0);
  });

  test('of an epoch that is not known here is no fault, and is left for later', async () => {
    await sendRecord(forge([], 1));
    await gossip(certify({ head: headOf('later'), epoch: 5 }));
    expect(refused('unknown_epoch')).toBe(1);
    expect(refused('fault')).toBe(0);
    expect(graph().confirmedHead).toBe(null);
  });

  test('waits for its head, and until then the highest one whose head is here counts', async () => {
    const first = forge([], 1);
    const second = forge([first], 2);
    const third = forge([second], 3);
    await sendRecord(first);
    const one = certify({ head: first.id });
    const two = following(one, second.id);
    const three = following(two, third.id);
    await gossip(one);
    await gossip(three);
    expect(graph().confirmedHead).toBe(first.id);
    await sendRecord(second);
    expect(graph().confirmedHead).toBe(first.id);
    await gossip(two);
    expect(graph().confirmedHead).toBe(second.id);
    await sendRecord(third);
    expect(graph().confirmedHead).toBe(third.id);
    expect(graph().versions.every(({ state }) => state === 'confirmed')).toBe(true);
    const positions = (await mesh.eventsOf('alice', 'confirmed')).map(
      ({ data }) => (data as { position: number }).position,
    );
    expect(positions).toEqual([1, 2, 3]);
    expect(await mesh.run(alice.node.status())).toMatchObject({ versions: 3, confirmed: 3, provisional: 0 });
  });

  test('may come before any version of its object, and holds over a restart', async () => {
    const version = forge([], 1);
    await gossip(certify({ head: version.id }));
    await mesh.stopNode('alice');
    alice = await mesh.startNode('alice');
    await mesh.settle(200);
    await sendRecord(version);
    expect(graph().confirmedHead).toBe(version.id);
  });

  test('of a second head at one position is reported, and the greater ballot counts in whatever order they come', async () => {
    const one = forge([], 1);
    const other = forge([], 2);
    await sendRecord(one);
    await sendRecord(other);
    const low = certify({ head: one.id });
    const high = certify({ head: other.id, ballot: { ...low.statement.ballot, counter: 9 } });
    await gossip(low);
    await gossip(high);
    expect(graph()).toMatchObject({ confirmedHead: other.id, preferred: other.id });
    expect(graph().versions.map(({ version, state }) => [version, state])).toContainEqual([one.id, 'provisional']);
    await gossip(low);
    expect(graph().confirmedHead).toBe(other.id);
    expect(mesh.get('alice').log.linesOf('confirmation:forked').length).toBeGreaterThan(0);
    expect((await mesh.eventsOf('alice', 'confirmed')).map(({ data }) => data)).toMatchObject([
      { version: one.id, position: 1 },
      { version: other.id, position: 1 },
    ]);
    expect(await mesh.run(alice.node.status())).toMatchObject({ versions: 2, confirmed: 1, provisional: 1 });
  });

  test('of a second head that is not here leaves the first one confirmed until the head comes', async () => {
    const one = forge([], 1);
    const other = forge([], 2);
    await sendRecord(one);
    const low = certify({ head: one.id });
    await gossip(low);
    await gossip(certify({ head: other.id, epoch: 1, ballot: { ...low.statement.ballot, counter: 9 } }));
    expect(graph().confirmedHead).toBe(one.id);
    await sendRecord(other);
    expect(graph().confirmedHead).toBe(other.id);
  });
});

describe('sync', () => {
  /** Answers alice's sync requests as a peer that has one certificate of the plan, and nothing else. */
  function serve(certificate: Certificate): { readonly wants: SyncRequest[] } {
    const wants: SyncRequest[] = [];
    network.handle(syncProtocol, async (stream) => {
      const channel = new Channel(stream, { clock: mesh.clock });
      for (let bytes = await channel.receive(); bytes !== null; bytes = await channel.receive()) {
        const request = decodeSyncRequest(bytes);
        if (!request.ok) throw new Error(request.error);
        if (request.value.t === 'records') {
          wants.push(request.value);
          await channel.send(encodeSyncMessage({ t: 'certificates', texts: [encodeCertificate(certificate)] }));
          await channel.send(encodeSyncMessage({ t: 'done', more: false }));
        } else if (request.value.t === 'feed') {
          await channel.send(encodeSyncMessage({ t: 'feed', feed: 'mallory', last: 7, through: 7, entries: null }));
        } else if (request.value.t === 'ranges') {
          await channel.send(encodeSyncMessage({ t: 'ranges', answers: request.value.ranges.map(() => 0 as const) }));
        }
      }
      await channel.end();
    });
    return { wants };
  }

  const violations = (): number =>
    alice.metrics.value('anabranch_sync_rounds_total', { outcome: 'protocol_violation' });

  test('brings certificates beside the records, and says which position is known', async () => {
    const written = await mesh.put('alice', 'plan', 'one');
    const { certificate } = await confirm();
    const next = following(certificate, headOf('not here'));
    const { wants } = serve(next);
    await publish(encodeGossip([hintOf(doc, [headOf('not here') as VersionId], [])]));
    await mesh.until(() => wants.length > 0);
    expect(wants[0]).toMatchObject({ wants: [{ confirmed: { position: 1 } }] });
    await mesh.settle(200);
    expect(graph().confirmedHead).toBe(written.version);
    expect(violations()).toBe(0);
  });

  test('ends with a peer that sends one that can never hold', async () => {
    serve(certify({ head: headOf('x') }, stranger()));
    await publish(encodeGossip([hintOf(doc, [headOf('x') as VersionId], [])]));
    await mesh.until(() => violations() === 1);
    expect(refused('fault')).toBe(1);
  });
});
