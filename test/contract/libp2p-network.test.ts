import { createHash } from 'node:crypto';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { connect } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { generateKeyPairFromSeed } from '@libp2p/crypto/keys';
import type { ConnectionEncrypter, MessageStream } from '@libp2p/interface';
import { noise } from '@libp2p/noise';
import { ping } from '@libp2p/ping';
import { tcp } from '@libp2p/tcp';
import { tls } from '@libp2p/tls';
import { yamux } from '@libp2p/yamux';
import { multiaddr } from '@multiformats/multiaddr';
import { createLibp2p } from 'libp2p';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { PeerId } from '../../crdt/ids.ts';
import { peerIdOf, signerFromSeed } from '../../crdt/signature.ts';
import { createLibp2pNetwork } from '../../src/adapters/libp2p/network.ts';
import { MemoryLog } from '../../src/adapters/memory/log.ts';
import { MemoryMetrics } from '../../src/adapters/memory/metrics.ts';
import { SystemClock } from '../../src/adapters/system/clock.ts';
import { SystemRandom } from '../../src/adapters/system/random.ts';
import type { NetworkMember } from '../../src/ports/network.ts';

const protocol = '/test/1.0.0';
const waitOptions = { timeout: 10_000, interval: 5 };

describe('Libp2pNetwork', () => {
  const closers: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    await Promise.all(closers.splice(0).map((close) => close()));
  });

  const createNode = async (name: string, members: readonly NetworkMember[], listen = '/ip4/127.0.0.1/tcp/0') => {
    const log = new MemoryLog();
    const metrics = new MemoryMetrics();
    const node = await createLibp2pNetwork(
      { log, metrics, clock: new SystemClock(), random: new SystemRandom() },
      { seed: seedOf(name), listen: [listen], members: () => members },
    );
    closers.push(() => node.stop());
    return { node, log, metrics };
  };

  type Created = Awaited<ReturnType<typeof createNode>>;

  /** Connected nodes, and the member list they all look at. */
  const createMesh = async (names: readonly string[]) => {
    const members: NetworkMember[] = [];
    const nodes: Created[] = [];
    for (const name of names) {
      const created = await createNode(name, members);
      await created.node.start();
      members.push({ peerId: created.node.localPeer, addresses: created.node.addresses() });
      nodes.push(created);
    }
    await vi.waitFor(() => {
      for (const { node } of nodes) expect(node.connectedPeers().length).toBe(names.length - 1);
    }, waitOptions);
    return { members, nodes: nodes as [Created, Created] };
  };
  /** A libp2p node that shares nothing with ours but the protocols. */
  const createForeigner = async (name: string, encrypter: Encrypter) => {
    const host = await createLibp2p({
      privateKey: await generateKeyPairFromSeed('Ed25519', seedOf(name)),
      addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
      transports: [tcp()],
      connectionEncrypters: [encrypter],
      streamMuxers: [yamux()],
      services: { ping: ping() },
    });
    closers.push(async () => host.stop());
    return host;
  };

  it('derives the peer id that the signer of the same seed has', async () => {
    const { node } = await createNode('alice', []);
    expect(node.localPeer).toBe(peerIdOf(signerFromSeed(seedOf('alice')).publicKey));
  });

  it.each([
    ['@libp2p/tls', tls(), '/tls/1.0.0'],
    ['@libp2p/noise', noise(), '/noise'],
  ])('speaks with a libp2p node that has %s, whoever dials', async (_name, encrypter, negotiated) => {
    const foreigner = await createForeigner('foreigner', encrypter as Encrypter);
    const members: NetworkMember[] = [{ peerId: foreigner.peerId.toString() as PeerId, addresses: [] }];
    const { node } = await createNode('alice', members);
    const received = new Promise<number>((resolve) => {
      node.handle(protocol, async (stream) => {
        let bytes = 0;
        for (let piece = await stream.read(); piece !== null; piece = await stream.read()) bytes += piece.byteLength;
        resolve(bytes);
        await stream.end();
      });
    });
    await node.start();
    const inward = await foreigner.dial(node.addresses().map((address) => multiaddr(address)));
    expect(inward.encryption).toBe(negotiated);
    const stream = await inward.newStream(protocol);
    for (let sent = 0; sent < 8; sent++) {
      if (!stream.send(new Uint8Array(128 * 1024))) {
        await new Promise<void>((resolve) => stream.addEventListener('drain', () => resolve(), { once: true }));
      }
    }
    await stream.close();
    expect(await received).toBe(1024 * 1024);
    await inward.close();
    await vi.waitFor(() => expect(node.connectedPeers()).toEqual([]), waitOptions);

    members[0] = { peerId: members[0]?.peerId as PeerId, addresses: foreigner.getMultiaddrs().map(String) };
    await vi.waitFor(() => expect(node.connectedPeers()).toEqual([members[0]?.peerId]), waitOptions);
    expect(foreigner.getConnections().map(({ encryption }) => encryption)).toEqual([negotiated]);
    expect(await foreigner.services.ping.ping(foreigner.getConnections()[0]?.remotePeer as never)).toBeGreaterThan(-1);
  });

  it('refuses a stranger before any protocol is spoken, by TLS and by Noise', async () => {
    const { node, metrics } = await createNode('alice', []);
    await node.start();
    for (const [index, encrypter] of [tls(), noise()].entries()) {
      const stranger = await createForeigner(`stranger ${index}`, encrypter as Encrypter);
      const outcome = async () => {
        const connection = await stranger.dial(node.addresses().map((address) => multiaddr(address)));
        await connection.newStream('/ipfs/ping/1.0.0');
      };
      await expect(outcome()).rejects.toThrow();
      await vi.waitFor(() => expect(stranger.getConnections()).toEqual([]), waitOptions);
      expect(metrics.value('anabranch_connections_refused_total')).toBe(index + 1);
    }
    expect(node.connectedPeers()).toEqual([]);
  });

  it('hangs up on who sends garbage, and on who shows no certificate in the TLS handshake', async () => {
    const { node } = await createNode('alice', []);
    await node.start();
    const port = Number(/\/tcp\/(\d+)/.exec(node.addresses()[0] ?? '')?.[1]);
    const dial = async () => {
      const socket = connect(port, '127.0.0.1');
      socket.on('error', () => undefined);
      await once(socket, 'connect');
      return socket;
    };
    const babbler = await dial();
    babbler.write(pseudoRandom(4_096));
    await closed(babbler.resume());

    const nameless = await dial();
    nameless.write('\x13/multistream/1.0.0\n\x0b/tls/1.0.0\n');
    for (let answer = ''; !answer.includes('/tls/1.0.0'); ) answer += String((await once(nameless, 'data'))[0]);
    nameless.removeAllListeners('data');
    const secured = connectTls({ socket: nameless, rejectUnauthorized: false, ALPNProtocols: ['/yamux/1.0.0'] });
    secured.on('error', () => undefined);
    let received = 0;
    secured.on('data', (bytes: Uint8Array) => {
      received += bytes.byteLength;
    });
    await closed(secured);
    expect(received).toBe(0);
    expect(node.connectedPeers()).toEqual([]);
  });

  it('does not take one member for another', async () => {
    const members: NetworkMember[] = [];
    const { node: bob } = await createNode('bob', members);
    const { node: alice, metrics } = await createNode('alice', members);
    await bob.start();
    const carol = peerIdOf(signerFromSeed(seedOf('carol')).publicKey);
    members.push({ peerId: carol, addresses: bob.addresses() });
    await alice.start();
    await vi.waitFor(
      () => expect(metrics.value('anabranch_dials_total', { outcome: 'failed' })).toBeGreaterThan(1),
      waitOptions,
    );
    expect(alice.connectedPeers()).toEqual([]);
  });

  it('drops a member that announces a yamux frame without bound', async () => {
    const foreigner = await createForeigner('foreigner', tls() as Encrypter);
    const members: NetworkMember[] = [{ peerId: foreigner.peerId.toString() as PeerId, addresses: [] }];
    const { node } = await createNode('alice', members);
    await node.start();
    const connection = await foreigner.dial(node.addresses().map((address) => multiaddr(address)));
    await vi.waitFor(() => expect(node.connectedPeers()).toEqual([members[0]?.peerId]), waitOptions);
    const muxer: unknown = Reflect.get(connection, 'muxer');
    const secured = Reflect.get(muxer as object, 'maConn') as MessageStream;
    secured.send(Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 9, 0xff, 0xff, 0xff, 0xff));
    await vi.waitFor(() => expect(node.connectedPeers()).toEqual([]), waitOptions);
    await vi.waitFor(() => expect(foreigner.getConnections()).toEqual([]), waitOptions);
  });

  it('dials a member that has moved at its new address at once, whatever came of the old one', async () => {
    const bob = await createNode('bob', []);
    await bob.node.start();
    const delaysMs: number[] = [];
    const clock = new (class extends SystemClock {
      override setTimer(delayMs: number, task: () => void): () => void {
        delaysMs.push(delayMs);
        return super.setTimer(delayMs, task);
      }
    })();
    const gone = { peerId: bob.node.localPeer, addresses: ['/ip4/127.0.0.1/tcp/1'] };
    const metrics = new MemoryMetrics();
    const alice = await createLibp2pNetwork(
      { log: new MemoryLog(), metrics, clock, random: new SystemRandom() },
      { seed: seedOf('alice'), listen: ['/ip4/127.0.0.1/tcp/0'], members: () => [gone] },
    );
    closers.push(() => alice.stop());
    bob.node.setMembers([{ peerId: alice.localPeer, addresses: [] }]);
    await alice.start();
    const failed = (): number => metrics.value('anabranch_dials_total', { outcome: 'failed' });
    await vi.waitFor(() => expect(failed()).toBeGreaterThanOrEqual(3), waitOptions);
    delaysMs.length = 0;
    alice.setMembers([{ peerId: bob.node.localPeer, addresses: bob.node.addresses() }]);
    // The next attempt at the old address was to come after half a second or more.
    expect(Math.min(...delaysMs)).toBeLessThan(500);
    await vi.waitFor(() => expect(alice.connectedPeers()).toEqual([bob.node.localPeer]), waitOptions);
  });

  it('drops the connections to a peer that is no member any more', async () => {
    const { members, nodes } = await createMesh(['alice', 'bob']);
    const [alice, bob] = nodes;
    members.splice(1, 1);
    await vi.waitFor(() => expect(alice.node.connectedPeers()).toEqual([]), waitOptions);
    await vi.waitFor(() => expect(bob.node.connectedPeers()).toEqual([]), waitOptions);
  });

  it('counts gossip by what became of it', async () => {
    const { nodes } = await createMesh(['alice', 'bob']);
    const [alice, bob] = nodes;
    alice.node.subscribe('news', () => 'accept');
    bob.node.subscribe('news', (data) => (data[0] === 1 ? 'accept' : 'reject'));
    expect(await alice.node.publish('nobody-listens', Uint8Array.of(9))).toBe(0);
    let serial = 0;
    await vi.waitFor(
      async () => expect(await alice.node.publish('news', Uint8Array.of(1, serial++))).toBe(1),
      waitOptions,
    );
    await alice.node.publish('news', Uint8Array.of(2));
    const received = (verdict: string) => bob.metrics.value('anabranch_gossip_received_total', { verdict });
    await vi.waitFor(() => expect([received('accept'), received('reject')]).toEqual([1, 1]), waitOptions);
    expect(alice.metrics.value('anabranch_gossip_sent_total', { recipients: 'some' })).toBe(2);
    expect(alice.metrics.value('anabranch_gossip_sent_total', { recipients: 'none' })).toBeGreaterThan(0);
  });

  it('waits for a verdict that takes its time, and holds a rejection against its sender', async () => {
    const { nodes } = await createMesh(['alice', 'bob']);
    const [alice, bob] = nodes;
    const verdicts: ((verdict: 'accept' | 'reject') => void)[] = [];
    bob.node.subscribe('news', () => new Promise((resolve) => verdicts.push(resolve)));
    let serial = 0;
    await vi.waitFor(async () => {
      if (verdicts.length === 0) await alice.node.publish('news', Uint8Array.of(1, serial++));
      expect(verdicts.length).toBeGreaterThan(0);
    }, waitOptions);
    const received = (verdict: string) => bob.metrics.value('anabranch_gossip_received_total', { verdict });
    expect([received('accept'), received('reject')]).toEqual([0, 0]);
    verdicts[0]?.('reject');
    await vi.waitFor(() => expect([received('accept'), received('reject')]).toEqual([0, 1]), waitOptions);
  });

  it('survives a receiver of gossip that throws', async () => {
    const { nodes } = await createMesh(['alice', 'bob']);
    const [alice, bob] = nodes;
    bob.node.subscribe('news', () => {
      throw new Error('a bug');
    });
    let serial = 0;
    await vi.waitFor(async () => {
      await alice.node.publish('news', Uint8Array.of(serial++));
      expect(bob.log.linesOf('gossip:receiver_failed').length).toBeGreaterThan(0);
    }, waitOptions);
    expect(bob.node.connectedPeers()).toEqual([alice.node.localPeer]);
  });

  it('says so when its address is taken', async () => {
    const { node: first } = await createNode('alice', []);
    await first.start();
    const { node: second } = await createNode('bob', [], first.addresses()[0]);
    await expect(second.start()).rejects.toMatchObject({ code: 'io_error' });
  });

  it('stops promptly, twice if asked to, and opens nothing afterwards', async () => {
    const { nodes } = await createMesh(['alice', 'bob']);
    const [alice, bob] = nodes;
    const startMs = performance.now();
    await bob.node.stop();
    await bob.node.stop();
    expect(performance.now() - startMs).toBeLessThan(3_000);
    await expect(bob.node.open(alice.node.localPeer, protocol)).rejects.toMatchObject({ code: 'peer_unreachable' });
    expect(await bob.node.publish('news', Uint8Array.of(1))).toBe(0);
  });
});

type Encrypter = (components: Components) => ConnectionEncrypter;
type Components = Parameters<ReturnType<typeof tls>>[0] & Parameters<ReturnType<typeof noise>>[0];

/** Resolves when a socket is closed, politely or not. */
function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.once('close', () => resolve()));
}

/** Bytes without a pattern, the same each time. */
function pseudoRandom(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => (Math.imul(index + 1, 2_654_435_761) >>> 11) & 0xff);
}

function seedOf(text: string): Uint8Array {
  return createHash('sha256').update(text).digest();
}
