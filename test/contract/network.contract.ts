import { afterEach, describe, expect, it, vi } from 'vitest';
import type { PeerId } from '../../crdt/ids.ts';
import type { ByteStream, Network, PeerChange } from '../../src/ports/network.ts';

/** What the suite asks of an adapter: a mesh of members it can cut in two, and someone who is no member. */
export interface MeshHarness {
  /** Started, and on their way to being connected with each other. */
  readonly nodes: readonly Network[];
  partition(a: readonly Network[], b: readonly Network[]): Promise<void>;
  heal(): Promise<void>;
  /** Starts a node that knows the members' addresses and is not known to them. */
  stranger(): Promise<Network>;
  /** Stops a member and starts it again under its old identity, not yet connected. */
  restart(node: Network): Promise<Network>;
  close(): Promise<void>;
}

const protocol = '/test/1.0.0';
const waitOptions = { timeout: 10_000, interval: 5 };
/** Members that have to connect by themselves. */
const membersOf = (...nodes: readonly Network[]) =>
  nodes.map(({ localPeer }) => ({ peerId: localPeer, addresses: [] }));

/** The promises of `src/ports/network.ts`, for every adapter. */
export function networkContract(name: string, createMesh: (size: number) => Promise<MeshHarness>): void {
  describe(`Network: ${name}`, () => {
    let mesh: MeshHarness | undefined;
    afterEach(async () => {
      await mesh?.close();
      mesh = undefined;
    });

    /** A connected mesh, and its nodes by position. */
    const connect = async (size: number) => {
      const created = await createMesh(size);
      mesh = created;
      await connected(created.nodes);
      const [alice, bob, carol] = created.nodes as [Network, Network, Network];
      return { mesh: created, alice, bob, carol };
    };

    it('connects every member with every other, and says so once for each', async () => {
      const created = await createMesh(3);
      mesh = created;
      const changes = created.nodes.map((node) => recordChanges(node));
      await connected(created.nodes);
      for (const [index, node] of created.nodes.entries()) {
        const others = created.nodes.filter((other) => other !== node).map((other) => other.localPeer);
        expect([...node.connectedPeers()].sort()).toEqual(others.sort());
        const heard = changes[index] ?? [];
        expect(heard.length).toBeLessThanOrEqual(2);
        expect(heard.every(({ kind, shown }) => kind === 'connected' && shown)).toBe(true);
      }
    });

    it('tells where it listens', async () => {
      const { mesh: connectedMesh } = await connect(2);
      for (const node of connectedMesh.nodes) {
        expect(node.addresses().length).toBeGreaterThan(0);
        for (const address of node.addresses()) expect(address).toMatch(/^\/[!-~]+$/);
      }
    });

    it('drops who is named a member no more, at once, and takes who is named again', async () => {
      const { alice, bob, carol } = await connect(3);
      bob.handle(protocol, async (stream) => void (await readAll(stream)));
      const stream = await alice.open(bob.localPeer, protocol);
      alice.setMembers(membersOf(alice, carol));
      await expect(stream.read()).rejects.toMatchObject({ code: 'stream_failed' });
      await vi.waitFor(() => expect(alice.connectedPeers()).toEqual([carol.localPeer]), waitOptions);
      await vi.waitFor(() => expect(bob.connectedPeers()).toEqual([carol.localPeer]), waitOptions);
      alice.setMembers(membersOf(alice, bob, carol));
      await connected([alice, bob, carol]);
    });

    it('says who turns it away, as long as they do', async () => {
      const { alice, bob, carol } = await connect(3);
      expect(bob.turnedAwayBy()).toEqual([]);
      alice.setMembers(membersOf(alice, carol));
      await vi.waitFor(() => expect(bob.turnedAwayBy()).toEqual([alice.localPeer]), waitOptions);
      expect(carol.turnedAwayBy()).toEqual([]);
      alice.setMembers(membersOf(alice, bob, carol));
      await connected([alice, bob, carol]);
      expect(bob.turnedAwayBy()).toEqual([]);
    });

    it('carries bytes both ways in order, and ends each side by itself', async () => {
      const { alice, bob } = await connect(2);
      bob.handle(protocol, async (stream) => {
        expect(stream.remotePeer).toBe(alice.localPeer);
        const received = await readAll(stream);
        await stream.write(received);
        await stream.end();
      });
      const stream = await alice.open(bob.localPeer, protocol);
      const sent = pattern(700_000);
      for (let offset = 0, size = 1; offset < sent.length; offset += size, size = (size * 7) % 65_537) {
        await stream.write(sent.slice(offset, offset + size));
      }
      await stream.end();
      expect(Buffer.compare(await readAll(stream), sent)).toBe(0);
    });

    it('says when memory that was written may be used again, and has read it by then', async () => {
      const { alice, bob } = await connect(2);
      const received = takeAll(bob);
      const stream = await alice.open(bob.localPeer, protocol);
      const sent = pattern(2_000_000);
      await writeReusing(stream, sent);
      await readAll(stream);
      expect(Buffer.compare(await (received[0] as Promise<Uint8Array>), sent)).toBe(0);
    });

    it('says so of each of many streams at once when it has read what that one was given', async () => {
      const { alice, bob } = await connect(2);
      const received = takeAll(bob);
      const sent = pattern(600_000);
      const send = async (): Promise<void> => {
        const stream = await alice.open(bob.localPeer, protocol);
        await writeReusing(stream, sent);
        await readAll(stream);
      };
      await Promise.all(Array.from({ length: 8 }, send));
      expect(received).toHaveLength(8);
      for (const bytes of await Promise.all(received)) expect(Buffer.compare(bytes, sent)).toBe(0);
    });

    it('does not say so of what still waits for room on its way', async () => {
      const { alice, bob } = await connect(2);
      const received = takeAll(bob);
      const stream = await alice.open(bob.localPeer, protocol);
      const sent = pattern(3_500_000);
      const memory = sent.slice();
      const writing = stream.write(memory);
      stream.onReleased(() => memory.fill(0xff));
      await writing;
      await stream.end();
      await readAll(stream);
      expect(Buffer.compare(await (received[0] as Promise<Uint8Array>), sent)).toBe(0);
    });

    it('never says so of a stream that has failed', async () => {
      const { alice, bob } = await connect(2);
      bob.handle(protocol, () => new Promise(() => undefined));
      const stream = await alice.open(bob.localPeer, protocol);
      let released = 0;
      await stream.write(pattern(100_000));
      stream.reset(new Error('no more'));
      stream.onReleased(() => {
        released += 1;
      });
      await new Promise((resolve) => setTimeout(resolve, 50));
      expect(released).toBe(0);
    });

    it('refuses to open a stream to a peer that is not connected, or for a protocol it does not serve', async () => {
      const { alice, bob } = await connect(2);
      const nobody = '12D3KooWJWoaqZhDaoEFshF7Rh1bpY9ohihFhzcW6d69Lr2NASuq' as PeerId;
      await expect(alice.open(nobody, protocol)).rejects.toMatchObject({ code: 'peer_unreachable' });
      await expect(alice.open(bob.localPeer, '/nobody/1')).rejects.toMatchObject({ code: 'peer_unreachable' });
    });

    it('gives an aborted open its signal’s reason', async () => {
      const { alice, bob } = await connect(2);
      bob.handle(protocol, async () => undefined);
      const reason = new Error('changed my mind');
      await expect(alice.open(bob.localPeer, protocol, AbortSignal.abort(reason))).rejects.toBe(reason);
      const controller = new AbortController();
      const opening = alice.open(bob.localPeer, protocol, controller.signal);
      controller.abort(reason);
      await expect(opening).rejects.toBe(reason);
    });

    it('resets the stream of a handler that rejects', async () => {
      const { alice, bob } = await connect(2);
      bob.handle(protocol, () => Promise.reject(new Error('no')));
      const stream = await alice.open(bob.localPeer, protocol).catch(() => undefined);
      if (stream !== undefined) await expect(stream.read()).rejects.toMatchObject({ code: 'stream_failed' });
    });

    it('fails pending calls on both sides when one resets, however often it does', async () => {
      const { alice, bob } = await connect(2);
      const failures: unknown[] = [];
      bob.handle(protocol, async (stream) => {
        await stream.write(Uint8Array.of(1));
        await stream.read().catch((error: unknown) => failures.push(error));
      });
      const stream = await alice.open(bob.localPeer, protocol);
      expect([...((await stream.read()) ?? [])]).toEqual([1]);
      const reading = stream.read();
      const reason = new Error('enough');
      stream.reset(reason);
      stream.reset(new Error('again'));
      await expect(reading).rejects.toBe(reason);
      await expect(stream.write(Uint8Array.of(1))).rejects.toBe(reason);
      await expect(stream.read()).rejects.toBe(reason);
      await vi.waitFor(() => expect(failures).toMatchObject([{ code: 'stream_failed' }]), waitOptions);
    });

    it('hands a handler no more of a peer’s streams at once than it asked for', async () => {
      const { alice, bob } = await connect(2);
      let open = 0;
      const finish: (() => void)[] = [];
      bob.handle(
        protocol,
        async (stream) => {
          open += 1;
          await stream.write(Uint8Array.of(1));
          await new Promise<void>((resolve) => finish.push(resolve));
          await stream.end();
          open -= 1;
        },
        { inboundStreamsMax: 2 },
      );
      const tryOne = async () => {
        const stream = await alice.open(bob.localPeer, protocol);
        await stream.read();
        return stream;
      };
      const kept = [await tryOne(), await tryOne()];
      await expect(tryOne()).rejects.toThrow();
      expect(open).toBe(2);
      for (const release of finish) release();
      for (const stream of kept) await stream.end();
      await vi.waitFor(() => expect(open).toBe(0), waitOptions);
      await vi.waitFor(async () => (await tryOne()).reset(new Error('done')), waitOptions);
    });

    it('drops a stream that its reader neglects instead of buffering without end', async () => {
      const { alice, bob } = await connect(2);
      bob.handle(protocol, () => new Promise(() => undefined));
      const stream = await alice.open(bob.localPeer, protocol);
      const flood = async () => {
        for (let sent = 0; sent < 64; sent++) await stream.write(new Uint8Array(1024 * 1024));
      };
      await expect(flood()).rejects.toMatchObject({ code: 'stream_failed' });
    });

    it('tells the others when a node stops, and fails its streams', async () => {
      const { alice, bob } = await connect(2);
      bob.handle(protocol, async (stream) => {
        await stream.write(Uint8Array.of(1));
        await stream.read();
      });
      const stream = await alice.open(bob.localPeer, protocol);
      await stream.read();
      const reading = stream.read();
      reading.catch(() => undefined);
      const changes = recordChanges(alice);
      await bob.stop();
      await expect(reading).rejects.toMatchObject({ code: 'stream_failed' });
      await vi.waitFor(() => expect(alice.connectedPeers()).toEqual([]), waitOptions);
      expect(changes).toEqual([{ kind: 'disconnected', peer: bob.localPeer, shown: true }]);
      expect(bob.connectedPeers()).toEqual([]);
      await expect(alice.open(bob.localPeer, protocol)).rejects.toMatchObject({ code: 'peer_unreachable' });
    });

    it('connects again with a member that was restarted', async () => {
      const { mesh, alice, bob } = await connect(2);
      const back = await mesh.restart(bob);
      await connected([alice, back]);
      back.handle(protocol, async (stream) => {
        await stream.write(Uint8Array.of(9));
        await stream.end();
      });
      expect(await readAll(await alice.open(bob.localPeer, protocol))).toEqual(Uint8Array.of(9));
    });

    it('cuts streams and connections in a partition, and connects again once it heals', async () => {
      const { mesh, alice, bob, carol } = await connect(3);
      bob.handle(protocol, async (stream) => {
        await stream.write(Uint8Array.of(1));
        await stream.read();
      });
      const stream = await alice.open(bob.localPeer, protocol);
      await stream.read();
      const reading = stream.read();
      reading.catch(() => undefined);
      await mesh.partition([alice], [bob, carol]);
      await expect(reading).rejects.toMatchObject({ code: 'stream_failed' });
      await vi.waitFor(() => expect(alice.connectedPeers()).toEqual([]), waitOptions);
      await vi.waitFor(() => expect(bob.connectedPeers()).toEqual([carol.localPeer]), waitOptions);
      await expect(alice.open(bob.localPeer, protocol)).rejects.toMatchObject({ code: 'peer_unreachable' });
      const changes = recordChanges(alice);
      await mesh.heal();
      await connected([alice, bob, carol]);
      expect(changes.map(({ kind }) => kind)).toEqual(['connected', 'connected']);
    });

    it('brings a published message to every subscriber but its publisher, once', async () => {
      const { alice, bob, carol } = await connect(3);
      const heard = { alice: gather(alice), bob: gather(bob), carol: gather(carol) };
      const message = pattern(64 * 1024);
      await vi.waitFor(async () => {
        message[0] = (message[0] ?? 0) + 1;
        expect(await alice.publish('news', message)).toBe(2);
      }, waitOptions);
      const delivered = (messages: readonly Uint8Array[]) =>
        messages.filter((received) => Buffer.compare(received, message) === 0).length;
      await vi.waitFor(() => {
        expect([delivered(heard.bob), delivered(heard.carol)]).toEqual([1, 1]);
      }, waitOptions);
      expect(heard.alice).toEqual([]);
    });

    it('publishes to nobody without complaint, and refuses what is too large', async () => {
      const { alice } = await connect(2);
      expect(await alice.publish('nobody-listens', Uint8Array.of(1))).toBe(0);
      await expect(alice.publish('news', new Uint8Array(1024 * 1024))).rejects.toMatchObject({ code: 'too_large' });
    });

    it('passes on what a subscriber accepted, and nothing else', async () => {
      const { mesh, alice, bob, carol } = await connect(3);
      await mesh.partition([alice], [carol]);
      await vi.waitFor(() => expect(carol.connectedPeers()).toEqual([bob.localPeer]), waitOptions);
      gather(alice);
      const atBob = gather(bob, (data) => (data[0] === 1 ? 'accept' : data[0] === 2 ? 'ignore' : 'reject'));
      const atCarol = gather(carol);
      let serial = 0;
      await vi.waitFor(async () => {
        for (const kind of [2, 3, 1]) await alice.publish('news', Uint8Array.of(kind, serial++));
        expect(atCarol.length).toBeGreaterThan(0);
      }, waitOptions);
      expect(new Set(atBob.map((data) => data[0]))).toEqual(new Set([1, 2, 3]));
      expect(new Set(atCarol.map((data) => data[0]))).toEqual(new Set([1]));
    });

    it('gives a stranger nothing', async () => {
      const { mesh, alice, bob } = await connect(2);
      let served = 0;
      const serve = async (stream: ByteStream) => {
        served += 1;
        await stream.write(Uint8Array.of(1));
      };
      alice.handle(protocol, serve);
      gather(alice);
      gather(bob);
      const stranger = await mesh.stranger();
      const seen = recordChanges(stranger);
      const heard = gather(stranger);
      for (let attempt = 0; attempt < 20; attempt++) {
        await alice.publish('news', Uint8Array.of(7, attempt));
        await expect(stranger.open(alice.localPeer, protocol)).rejects.toMatchObject({ code: 'peer_unreachable' });
        await new Promise((resolve) => setTimeout(resolve, 25));
      }
      expect({ served, seen, heard }).toEqual({ served: 0, seen: [], heard: [] });
      expect(alice.connectedPeers()).toEqual([bob.localPeer]);
      await stranger.stop();
    });
  });
}

async function connected(nodes: readonly Network[]): Promise<void> {
  await vi.waitFor(() => {
    for (const node of nodes) expect(node.connectedPeers().length).toBe(nodes.length - 1);
  }, waitOptions);
}

/** Every change a node announces, and whether `connectedPeers` showed it by then. */
function recordChanges(node: Network): (PeerChange & { shown: boolean })[] {
  const changes: (PeerChange & { shown: boolean })[] = [];
  node.onPeerChange((change) => {
    const listed = node.connectedPeers().includes(change.peer);
    changes.push({ ...change, shown: listed === (change.kind === 'connected') });
  });
  return changes;
}

/** What a node hears on the topic `news`. */
function gather(
  node: Network,
  judge: (data: Uint8Array) => 'accept' | 'ignore' | 'reject' = () => 'accept',
): Uint8Array[] {
  const messages: Uint8Array[] = [];
  node.subscribe('news', (data) => {
    messages.push(data);
    return judge(data);
  });
  return messages;
}

async function readAll(stream: ByteStream): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  for (let bytes = await stream.read(); bytes !== null; bytes = await stream.read()) pieces.push(bytes);
  return new Uint8Array(Buffer.concat(pieces));
}

/** What a node is sent on each stream; it ends its side when it has it all. */
function takeAll(node: Network): readonly Promise<Uint8Array>[] {
  const received: Promise<Uint8Array>[] = [];
  node.handle(protocol, async (stream) => {
    received.push(readAll(stream));
    await received.at(-1);
    await stream.end();
  });
  return received;
}

/** Writes by way of the same memory, which is overwritten whenever the stream has released it, and ends. */
async function writeReusing(stream: ByteStream, sent: Uint8Array): Promise<void> {
  const memory = new Uint8Array(200_000);
  for (let offset = 0; offset < sent.length; offset += memory.length) {
    memory.set(sent.subarray(offset, offset + memory.length));
    await stream.write(memory.subarray(0, 150_000));
    await stream.write(memory.subarray(150_000));
    await new Promise<void>((resolve) => stream.onReleased(resolve));
    memory.fill(0xff);
  }
  await stream.end();
}

/** Bytes that show where in the stream they belong. */
function pattern(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => (index * 31 + (index >> 8)) & 0xff);
}
