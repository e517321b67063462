import { afterEach, describe, expect, it } from 'vitest';
import type { PeerId } from '../../../../crdt/ids.ts';
import { membershipDigest, packStamps, withDescriptors } from '../../../../crdt/membership-set.ts';
import { encodeHeartbeat, type Heartbeat, heartbeatTopic } from '../../../../protocols/membership/heartbeat.ts';
import {
  decodeMembershipRequest,
  descriptorTopic,
  encodeDescriptorGossip,
  encodeMembershipMessage,
  type MembershipResponse,
  membershipProtocol,
} from '../../../../protocols/membership/messages.ts';
import { Channel } from '../../../../protocols/wire/channel.ts';
import { descriptorOf } from '../../../support/descriptors.ts';
import { Mesh } from '../../../support/mesh.ts';
import { testNode } from '../../../support/versions.ts';

let mesh: Mesh;
afterEach(() => mesh.stop());

/** A node and a member beside it that plays by no rules; what it sends arrives within milliseconds. */
async function besideMallory() {
  mesh = new Mesh(['alice', 'bob', 'mallory']);
  await mesh.startNode('alice');
  const mallory = await mesh.impersonate('mallory');
  await mesh.settle(10);
  const alice = mesh.get('alice');
  const { cluster } = mesh.sim;
  const { nodeId } = mallory.member;
  const beat = (change: Partial<Heartbeat> = {}, signer = mallory.signer): Uint8Array =>
    encodeHeartbeat(
      {
        nodeId,
        descriptor: 3,
        sequence: 1,
        capacityBytes: 10,
        freeBytes: 4,
        status: 'ready',
        load: 0,
        members: membershipDigest(alice.node.model.descriptors()),
        ...change,
      },
      signer,
      cluster,
    );
  const send = async (topic: string, data: Uint8Array, waitMs = 500): Promise<void> => {
    await mallory.network.publish(topic, data);
    await mesh.settle(waitMs);
  };
  const counted = (what: 'heartbeats' | 'descriptors', outcome: string): number =>
    alice.metrics.value(`anabranch_${what}_total`, { outcome });
  const signedBy = { signer: mallory.signer, cluster };
  const own = { ...testNode('mallory'), nodeId, signer: mallory.signer };
  return { alice, mallory, nodeId, own, cluster, beat, send, counted, signedBy, topic: heartbeatTopic(cluster) };
}

describe('a heartbeat', () => {
  it('is believed once, and not again when it comes out of order, from an old life, or too soon', async () => {
    const { beat, send, counted, topic } = await besideMallory();
    const bob = await mesh.impersonate('bob');
    await mesh.settle(10);
    await send(topic, beat({ sequence: 2 }));
    await send(topic, beat({ sequence: 1 }));
    await send(topic, beat({ sequence: 2, load: 9 }));
    // Played again by another.
    await bob.network.publish(topic, beat({ descriptor: 2, sequence: 100 }));
    await mesh.settle(500);
    expect([counted('heartbeats', 'received'), counted('heartbeats', 'stale')]).toEqual([1, 3]);
    await send(topic, beat({ sequence: 3 }), 10);
    await send(topic, beat({ sequence: 4 }));
    expect([counted('heartbeats', 'received'), counted('heartbeats', 'stale')]).toEqual([2, 4]);
    await send(topic, beat({ descriptor: 4, sequence: 1 }), 1_000);
    await send(topic, beat({ descriptor: 4, sequence: 2 }), 1_000);
    expect(counted('heartbeats', 'received')).toBe(4);
  });

  it('of a node that begins anew, since its disk is gone, is believed when it comes from that node itself', async () => {
    const { beat, send, counted, topic } = await besideMallory();
    await send(topic, beat({ descriptor: 3, sequence: 7 }), 1_000);
    await send(topic, beat({ descriptor: 1, sequence: 1 }), 1_000);
    await send(topic, beat({ descriptor: 1, sequence: 2 }), 1_000);
    expect([counted('heartbeats', 'received'), counted('heartbeats', 'stale')]).toEqual([3, 0]);
  });

  it('of an old life is not believed after a restart either, since the descriptor of the new one is kept', async () => {
    const { alice, own, cluster, beat, send, topic, signedBy } = await besideMallory();
    await send(descriptorTopic(cluster), encodeDescriptorGossip([descriptorOf(own, { sequence: 5 }, signedBy)]));
    expect(alice.node.model.descriptors().get(own.nodeId)?.descriptor.sequence).toBe(5);
    await mesh.stopNode('alice');
    await mesh.startNode('alice');
    await mesh.settle(10);
    await send(topic, beat({ descriptor: 4, sequence: 900 }));
    expect(mesh.get('alice').metrics.value('anabranch_heartbeats_total', { outcome: 'stale' })).toBe(1);
    expect(
      mesh
        .get('alice')
        .node.model.nodes()
        .find(({ name }) => name === 'mallory')?.lastHeartbeatMs,
    ).toBeNull();
  });

  it('that is not signed by its node is refused, and counts against who sent it', async () => {
    const { alice, beat, send, counted, topic } = await besideMallory();
    const bob = mesh.sim.member('bob').nodeId;
    await send(topic, beat({ nodeId: bob }));
    await send(topic, Buffer.from('no heartbeat'));
    await send(topic, beat({}, testNode('other').signer));
    expect(counted('heartbeats', 'refused')).toBe(3);
    expect(alice.node.model.liveness.stateOf(bob)).toBe('unknown');
    expect(alice.log.lines.filter(({ event }) => event === 'heartbeat:refused')).toHaveLength(3);
  });

  it('of a stranger is nobody’s', async () => {
    const { beat, send, counted, topic } = await besideMallory();
    const stranger = testNode('stranger');
    await send(topic, beat({ nodeId: stranger.nodeId }, stranger.signer));
    expect([counted('heartbeats', 'foreign'), counted('heartbeats', 'refused')]).toEqual([1, 0]);
  });
});

describe('a gossiped descriptor', () => {
  it('is taken when it is newer and signed by its node, and refused when it is not', async () => {
    const { alice, own, cluster, send, counted, signedBy } = await besideMallory();
    const topic = descriptorTopic(cluster);
    const tell = (...signed: Parameters<typeof encodeDescriptorGossip>[0]) =>
      send(topic, encodeDescriptorGossip(signed));
    await tell(descriptorOf(own, { sequence: 2, url: 'https://m.example' }, signedBy));
    await tell(descriptorOf(own, { sequence: 1 }, signedBy));
    const { member } = mesh.sim.get('bob');
    await tell(descriptorOf({ ...own, nodeId: member.nodeId }, { sequence: 9 }, signedBy));
    await tell(descriptorOf(own, { sequence: 3 }, { signer: own.signer }));
    await send(topic, Buffer.from('nothing'));
    expect(['taken', 'known', 'refused'].map((outcome) => counted('descriptors', outcome))).toEqual([1, 1, 3]);
    expect(alice.node.nodes().find(({ name }) => name === 'mallory')?.url).toBe('https://m.example');
    expect(alice.node.model.descriptors().has(member.nodeId)).toBe(false);
  });

  it('in this node’s own name makes it speak up above it', async () => {
    const { alice, send, counted, cluster } = await besideMallory();
    await mesh.settle(1_000);
    const before = alice.node.model.ownDescriptor()?.descriptor.sequence ?? 0;
    const copy = { ...testNode('alice'), nodeId: alice.nodeId, signer: alice.signer };
    const stray = descriptorOf(copy, { sequence: before + 40 }, { signer: alice.signer, cluster });
    await send(descriptorTopic(cluster), encodeDescriptorGossip([stray]), 12_000);
    expect(alice.node.model.ownDescriptor()?.descriptor.sequence).toBe(before + 41);
    expect(counted('descriptors', 'refused')).toBe(0);
    expect(alice.log.lines.some(({ event }) => event === 'membership:contested')).toBe(true);
  });
});

describe('a peer that is asked for descriptors', () => {
  type Answers = (request: string) => MembershipResponse | Uint8Array;

  /** Serves answers of its own making, and has its heartbeat show that there is something to ask. */
  async function asked(makeAnswers: (world: Awaited<ReturnType<typeof besideMallory>>) => Answers) {
    const world = await besideMallory();
    const { mallory, beat, send, topic } = world;
    const answers = makeAnswers(world);
    let questions = 0;
    mallory.network.handle(membershipProtocol, async (stream) => {
      const channel = new Channel(stream, { clock: mesh.clock });
      for (let bytes = await channel.receive(); bytes !== null; bytes = await channel.receive()) {
        questions += 1;
        const request = decodeMembershipRequest(bytes);
        const answer = answers(request.ok ? request.value.t : 'none');
        await channel.send(answer instanceof Uint8Array ? answer : encodeMembershipMessage(answer));
      }
      await channel.end();
    });
    await send(topic, beat({ members: new Uint8Array(16).fill(1) }), 2_000);
    return { ...world, questions: () => questions };
  }

  it('brings what is newer', async () => {
    const { alice, nodeId } = await asked(({ own, signedBy }) => {
      const mine = descriptorOf(own, { sequence: 3 }, signedBy);
      return (t) =>
        t === 'compare'
          ? { t: 'stamps', stamps: packStamps(withDescriptors(new Map(), [mine])) }
          : { t: 'descriptors', texts: [mine.text] };
    });
    expect(alice.node.model.descriptors().get(nodeId)?.descriptor.sequence).toBe(3);
  });

  it.each<[string, (world: Awaited<ReturnType<typeof besideMallory>>) => Answers]>([
    ['answers with noise', () => () => Buffer.from('noise')],
    ['answers something else', () => () => ({ t: 'descriptors', texts: [] })],
    ['has stamps that are none', () => () => ({ t: 'stamps', stamps: new Uint8Array(31) })],
    [
      'gives a descriptor that its node did not sign',
      ({ own, signedBy }) => {
        const { nodeId } = mesh.sim.member('bob');
        const forged = descriptorOf({ ...own, nodeId }, { sequence: 4 }, signedBy);
        return (t) =>
          t === 'compare'
            ? { t: 'stamps', stamps: packStamps(withDescriptors(new Map(), [forged])) }
            : { t: 'descriptors', texts: [forged.text] };
      },
    ],
    [
      'gives what was not asked for',
      ({ own, signedBy }) => {
        const mine = descriptorOf(own, {}, signedBy);
        const { nodeId } = mesh.sim.member('bob');
        const other = descriptorOf({ ...own, nodeId }, {}, signedBy);
        return (t) =>
          t === 'compare'
            ? { t: 'stamps', stamps: packStamps(withDescriptors(new Map(), [mine])) }
            : { t: 'descriptors', texts: [other.text] };
      },
    ],
  ])('and %s is refused, and left alone for a minute', async (_, makeAnswers) => {
    const { alice, counted, beat, send, topic, questions } = await asked(makeAnswers);
    expect(counted('descriptors', 'refused')).toBe(1);
    expect(alice.node.model.descriptors().has(mesh.sim.member('bob').nodeId)).toBe(false);
    const before = questions();
    for (let sequence = 2; sequence < 10; sequence += 1) {
      await send(topic, beat({ sequence, members: new Uint8Array(16).fill(sequence) }), 5_000);
    }
    expect(questions()).toBe(before);
  });

  it('and always seems to have more, but has nothing, is asked ever more seldom', async () => {
    const { beat, send, topic, questions } = await asked(() => () => ({ t: 'stamps', stamps: new Uint8Array(0) }));
    for (let sequence = 2; sequence < 122; sequence += 1) {
      await send(topic, beat({ sequence, members: new Uint8Array(16).fill(sequence) }), 5_000);
    }
    // Ten minutes of heartbeats, each of which shows another digest.
    expect(questions()).toBeLessThan(12);
  });
});

describe('a peer that asks for descriptors', () => {
  it('in words that are none is cut off, and else answered', async () => {
    const { alice, mallory } = await besideMallory();
    const ask = async (message: Uint8Array): Promise<Uint8Array | null> => {
      const stream = await mesh.run(mallory.network.open(alice.peerId as PeerId, membershipProtocol));
      const channel = new Channel(stream, { clock: mesh.clock });
      await channel.send(message);
      return mesh.run(channel.receive());
    };
    await expect(ask(Buffer.from('junk'))).rejects.toMatchObject({ code: 'stream_failed' });
    const answer = await ask(encodeMembershipMessage({ t: 'fetch', nodes: [alice.nodeId] }));
    expect(answer?.length).toBeGreaterThan(100);
  });
});
