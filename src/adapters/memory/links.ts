import type { PeerId } from '../../../crdt/ids.ts';

/**
 * How the links between nodes behave: the one place where a simulation draws delay, loss, duplication
 * and reordering. Milliseconds of the hub's clock; called once for each thing that travels.
 */
export interface LinkModel {
  /** Until a connection attempt succeeds. */
  connectDelayMs(a: PeerId, b: PeerId): number;
  /** Until the two ends of a cut link notice that it is cut; nothing passes in the meantime. */
  noticeDelayMs(a: PeerId, b: PeerId): number;
  /** Until a piece of a stream arrives. A stream is reliable and keeps its order whatever is returned here. */
  streamDelayMs(from: PeerId, to: PeerId, bytes: number): number;
  /** Where a piece of a stream is torn in two, so that a lost connection can end in the middle of it; 0 (or no such method) leaves it whole. */
  streamSplitAt?(from: PeerId, to: PeerId, bytes: number): number;
  /** Until each copy of a gossip message arrives: none when it is lost, several when it is duplicated. */
  gossipDelaysMs(from: PeerId, to: PeerId, bytes: number): readonly number[];
}

/** Links without faults: everything takes `delayMs`, and a cut is noticed after as long. */
export function steadyLinks(delayMs: number): LinkModel {
  return {
    connectDelayMs: () => delayMs,
    noticeDelayMs: () => delayMs,
    streamDelayMs: () => delayMs,
    gossipDelaysMs: () => [delayMs],
  };
}
