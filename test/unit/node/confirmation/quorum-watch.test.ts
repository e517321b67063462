import { beforeEach, describe, expect, test } from 'vitest';
import type { NodeId, PeerId } from '../../../../crdt/ids.ts';
import type { QuorumState } from '../../../../src/node/api.ts';
import { QuorumWatch } from '../../../../src/node/confirmation/quorum-watch.ts';

const coordinator = (name: string) => ({ nodeId: name as NodeId, peerId: `peer of ${name}` as PeerId });

/** A node's connections, and what it knows of those who vote. */
let connected: Set<string>;
let voting: { readonly epoch: number; readonly coordinators: readonly string[] };
let restored: string[];
let told: QuorumState[];
let peerChanged: () => void;

beforeEach(() => {
  connected = new Set();
  voting = { epoch: 1, coordinators: ['a', 'b', 'c'] };
  restored = [];
  told = [];
});

function watching(self: string): QuorumWatch {
  const watch = new QuorumWatch({
    nodeId: self as NodeId,
    network: {
      connectedPeers: () => [...connected].map((name) => coordinator(name).peerId),
      onPeerChange: (listener: () => void) => {
        peerChanged = listener;
        return () => undefined;
      },
    },
    view: () => ({ epoch: voting.epoch, coordinators: voting.coordinators.map(coordinator) }),
    restored: () => restored as NodeId[],
    changed: (state: QuorumState) => told.push(state),
  } as never);
  watch.start();
  return watch;
}

function meet(...names: readonly string[]): void {
  connected = new Set(names);
  peerChanged();
}

describe('whether a majority can be reached', () => {
  test('counts the coordinators that are connected, and the node itself where it is one', () => {
    const own = watching('a');
    meet('b', 'storage');
    expect(own.state()).toEqual({ epoch: 1, coordinators: 3, reachable: 2, available: true });
    const other = watching('storage');
    meet('b');
    expect(other.state()).toMatchObject({ reachable: 1, available: false });
    meet('b', 'c');
    expect(other.state()).toMatchObject({ reachable: 2, available: true });
  });

  test('does not count who was caught having forgotten votes, be it the node itself', () => {
    const watch = watching('a');
    meet('b');
    restored = ['b'];
    expect(watch.state()).toMatchObject({ coordinators: 3, reachable: 1, available: false });
    restored = ['a'];
    expect(watch.state()).toMatchObject({ reachable: 1, available: false });
    meet('b', 'c');
    expect(watch.state()).toMatchObject({ reachable: 2, available: true });
  });

  test('is half of an even number never', () => {
    voting = { epoch: 2, coordinators: ['a', 'b', 'c', 'd'] };
    const watch = watching('a');
    meet('b');
    expect(watch.state()).toMatchObject({ reachable: 2, available: false });
    meet('b', 'c');
    expect(watch.state().available).toBe(true);
  });
});

describe('who watches is told', () => {
  test('when that changes, by connections or by other coordinators, and of nothing else', () => {
    const watch = watching('a');
    meet('b');
    meet('b', 'c');
    meet('c');
    expect(told.map(({ available }) => available)).toEqual([true]);
    meet();
    expect(told.map(({ available }) => available)).toEqual([true, false]);
    voting = { epoch: 2, coordinators: ['a'] };
    expect(told).toHaveLength(2);
    watch.look();
    expect(told.at(-1)).toEqual({ epoch: 2, coordinators: 1, reachable: 1, available: true });
    watch.look();
    expect(told).toHaveLength(3);
  });
});
