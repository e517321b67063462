import { describe, expect, it } from 'vitest';
import type { PeerId } from '../../../crdt/ids.ts';
import { Dialer } from '../../../src/adapters/libp2p/dialer.ts';
import { VirtualClock } from '../../../src/adapters/memory/clock.ts';

const alice = 'a' as PeerId;
const bob = 'b' as PeerId;
const carol = 'c' as PeerId;
const address = '/ip4/127.0.0.1/tcp/1';

/** A dialer on virtual time whose dials are recorded and answered by `answer`. */
function createDialer(localPeer: PeerId, peers: PeerId[], answer: (signal: AbortSignal) => Promise<void>) {
  const clock = new VirtualClock();
  const dials: { peer: PeerId; atMs: number; signal: AbortSignal }[] = [];
  const wanted = new Set(peers);
  const connected = new Set<PeerId>();
  const dialer = new Dialer({
    clock,
    random: { bytes: (length) => new Uint8Array(length), fraction: () => 0.5 },
    localPeer,
    wanted: () => [...wanted].map((peerId) => ({ peerId, addresses: [address] })),
    isConnected: (peer) => connected.has(peer),
    dial: (target, signal) => {
      dials.push({ peer: target.peerId, atMs: clock.monotonicMs(), signal });
      return answer(signal);
    },
  });
  return { clock, dialer, dials, wanted, connected };
}

const refused = () => Promise.reject(new Error('refused'));
const unanswered = (signal: AbortSignal) =>
  new Promise<void>((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)));

describe('Dialer', () => {
  it('dials again and again, ever more slowly, up to a limit', async () => {
    const { clock, dialer, dials } = createDialer(alice, [bob], refused);
    dialer.refresh();
    await clock.advance(60_000);
    const gaps = dials.slice(1).map(({ atMs }, index) => Math.round(atMs - (dials[index]?.atMs ?? 0)));
    expect(gaps.slice(0, 7)).toEqual([188, 375, 750, 1500, 3000, 6000, 7500]);
    expect(Math.max(...gaps)).toBe(7_500);
  });

  it('has one attempt a peer, however often it is refreshed', async () => {
    const { clock, dialer, dials } = createDialer(alice, [bob, carol], unanswered);
    for (let turn = 0; turn < 50; turn++) {
      dialer.refresh();
      dialer.retryNow([bob]);
      await clock.advance(100);
    }
    expect(dials.map(({ peer }) => peer).sort()).toEqual([bob, carol]);
  });

  it('gives an attempt up when it is not answered', async () => {
    const { clock, dialer, dials } = createDialer(alice, [bob], unanswered);
    dialer.refresh();
    await clock.advance(10_100);
    expect(dials[0]?.signal.aborted).toBe(true);
    await clock.advance(1_000);
    expect(dials.length).toBe(2);
  });

  it('lets the peer with the lesser id go first', async () => {
    const early = createDialer(alice, [bob], refused);
    const late = createDialer(carol, [bob], refused);
    early.dialer.refresh();
    late.dialer.refresh();
    await early.clock.advance(1_000);
    await late.clock.advance(1_000);
    expect(early.dials[0]?.atMs).toBeLessThan(100);
    expect(late.dials[0]?.atMs).toBeGreaterThan(400);
  });

  it('stops when the peer is connected, or is wanted no more, and starts afresh when it is lost', async () => {
    const { clock, dialer, dials, wanted, connected } = createDialer(alice, [bob, carol], refused);
    dialer.refresh();
    await clock.advance(20_000);
    connected.add(bob);
    wanted.delete(carol);
    dialer.refresh();
    const before = dials.length;
    await clock.advance(60_000);
    expect(dials.length).toBe(before);
    connected.delete(bob);
    dialer.refresh();
    await clock.advance(100);
    expect(dials.slice(before).map(({ peer }) => peer)).toEqual([bob]);
  });

  it('forgets its backoff when told to, so that a healed partition is crossed at once', async () => {
    const { clock, dialer, dials } = createDialer(alice, [bob], refused);
    dialer.refresh();
    await clock.advance(60_000);
    const before = dials.length;
    dialer.retryNow([bob]);
    await clock.advance(100);
    expect(dials.length).toBe(before + 1);
  });

  it('keeps backing off from a peer that takes the connection and drops it again', async () => {
    const { clock, dialer, dials } = createDialer(alice, [bob], () => Promise.resolve());
    dialer.refresh();
    await clock.advance(60_000);
    expect(dials.length).toBeLessThan(15);
  });

  it('aborts what is under way when it stops', async () => {
    const { clock, dialer, dials } = createDialer(alice, [bob], unanswered);
    dialer.refresh();
    await clock.advance(100);
    dialer.stop();
    dialer.refresh();
    expect(dials[0]?.signal.aborted).toBe(true);
    await clock.advance(60_000);
    expect(dials.length).toBe(1);
    expect(clock.pendingTimers).toBe(0);
  });
});
