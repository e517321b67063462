import { beforeEach, describe, expect, it } from 'vitest';
import type { BlobHash, PeerId } from '../../../crdt/ids.ts';
import { VirtualClock } from '../../../src/adapters/memory/clock.ts';
import { EnclosedContents } from '../../../src/node/enclosed-contents.ts';

const [bob, carol, dave] = ['bob', 'carol', 'dave'] as [PeerId, PeerId, PeerId];
const kib = 1_024;
/** Bytes that a peer is sent ahead of its proofs, and the largest content that is sent so. */
const windowBytes = 8 * kib * kib;
const largest = 16 * kib;

let clock: VirtualClock;
let connected: PeerId[];
let holders: PeerId[];
let enclosed: EnclosedContents;

beforeEach(() => {
  clock = new VirtualClock();
  [connected, holders] = [[bob], [bob]];
  enclosed = new EnclosedContents({
    network: { connectedPeers: () => connected },
    clock,
    isLimited: false,
    holdersOf: () => holders,
  });
});

const manifest = (index: number): BlobHash => `m${index}` as BlobHash;
const admits = (size: number, index = 0): boolean =>
  enclosed.admit({ ns: 'ns', key: `${index}`, content: { manifest: manifest(index), size, b3: '' } }) >= size;
/** Fills the windows, and returns how many of the largest contents that took. */
function fill(): number {
  let count = 0;
  while (admits(largest, count)) count += 1;
  return count;
}

describe('a content goes along with its record', () => {
  it('when it is tiny, whoever listens and whatever is under way', () => {
    holders = [];
    expect(admits(kib)).toBe(true);
    holders = [bob];
    fill();
    expect(admits(kib)).toBe(true);
  });

  it('up to the size of a small blob where at least half of those who hear it are to hold it', () => {
    expect([kib + 1, largest, largest + 1].map((size) => admits(size))).toEqual([true, true, false]);
    connected = [bob, carol];
    expect(admits(largest)).toBe(true);
    connected = [bob, carol, dave];
    expect(admits(largest)).toBe(false);
    holders = [bob, dave];
    expect(admits(largest)).toBe(true);
  });

  it('not when what the node sends is limited, unless it is tiny', () => {
    enclosed = new EnclosedContents({
      network: { connectedPeers: () => connected },
      clock,
      isLimited: true,
      holdersOf: () => holders,
    });
    expect([kib, kib + 1].map((size) => admits(size))).toEqual([true, false]);
  });

  it('not when no holder hears it', () => {
    holders = [carol];
    expect(admits(kib + 1)).toBe(false);
    connected = [];
    expect(admits(kib + 1)).toBe(false);
  });
});

describe('what goes along to a peer', () => {
  it('is at most a window ahead of its proofs', () => {
    expect(fill()).toBe(windowBytes / largest);
    enclosed.proved(manifest(3), bob);
    expect(admits(largest, 10_000)).toBe(true);
    expect(admits(kib + 1, 10_001)).toBe(false);
    // Nothing is given back twice, nor for what was not sent.
    enclosed.proved(manifest(3), bob);
    enclosed.proved(manifest(99_999), bob);
    enclosed.proved(manifest(4), carol);
    expect(admits(kib + 1, 10_001)).toBe(false);
  });

  it('counts each time it is sent, and one proof of a content gives all of that back', () => {
    const name = (index: number): boolean =>
      enclosed.admit({ ns: 'ns', key: `name ${index}`, content: { manifest: manifest(0), size: largest, b3: '' } }) >=
      largest;
    for (let index = 0; index < windowBytes / largest; index += 1) expect(name(index)).toBe(true);
    expect(name(10_000)).toBe(false);
    enclosed.proved(manifest(0), bob);
    expect(fill()).toBe(windowBytes / largest);
  });

  it('waits for the slowest of those who hear it, also for one who keeps nothing', () => {
    connected = [bob, carol];
    const count = fill();
    for (let index = 0; index < count; index += 1) enclosed.proved(manifest(index), bob);
    expect(admits(largest, 10_000)).toBe(false);
    connected = [bob];
    expect(admits(largest, 10_000)).toBe(true);
  });

  it('is given back by time to who proves nothing, and all at once to who was gone', async () => {
    const count = fill();
    await clock.advance(29_999);
    expect(admits(largest, 10_000)).toBe(false);
    await clock.advance(1);
    expect(admits(largest, 10_000)).toBe(true);
    expect(fill()).toBe(count - 1);
    connected = [carol];
    expect(admits(largest)).toBe(false);
    holders = [bob, carol];
    expect(admits(largest)).toBe(true);
    connected = [bob];
    expect(fill()).toBe(count);
  });
});
