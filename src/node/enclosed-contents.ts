import type { BlobHash, PeerId } from '../../crdt/ids.ts';
import type { Content } from '../../crdt/version.ts';
import type { Clock } from '../ports/clock.ts';
import type { Network } from '../ports/network.ts';
import { smallBlobBytesMax } from './content/content-store.ts';

/** The largest content that goes with its record to whoever hears of that: asking for it would take more bytes than it has. */
const unboundBytesMax = 1_024;
/** The largest that goes along where those who hear of it are to keep it: what is one row, and one chunk. */
const enclosedBytesMax = smallBlobBytesMax;
/** Bytes sent along to one peer that it has not proved yet: half of what gossip may leave unsent before a peer's stream is dropped. */
const windowBytesMax = 8 * 1024 * 1024;
/** Who proves nothing, since it is to keep nothing or hangs, gets no more than a window in so long. */
const returnedAfterMs = 30_000;

interface Dependencies {
  readonly network: Pick<Network, 'connectedPeers'>;
  readonly clock: Clock;
  /** True where the content a node sends is limited by the second: then whoever wants some has to ask, and wait, for it. */
  readonly isLimited: boolean;
  /** The peers that are to hold an object's contents, as far as they are not this node. */
  readonly holdersOf: (ns: string, key: string) => readonly PeerId[];
}

/** What was sent along to a peer and is not proved, in the order of its time. */
interface Window {
  readonly contents: Map<BlobHash, { readonly bytes: number; readonly atMs: number }>;
  bytes: number;
}

/**
 * Which contents are gossiped with their records, so that no holder has to ask for them. Gossip has no credits of its own
 * and reaches everybody who listens; so beyond what is tiny
 *
 * 1. nothing goes along unless at least half of those who hear it are to hold it, and
 * 2. each peer is sent at most a window of bytes ahead of its proofs. Whatever is past that is pulled, which has credits.
 */
export class EnclosedContents {
  readonly #dependencies: Dependencies;
  readonly #windows = new Map<PeerId, Window>();

  constructor(dependencies: Dependencies) {
    this.#dependencies = dependencies;
  }

  /** The most bytes that are to go along with the record of such a content: 0 for none. Room is taken for what does. */
  admit({ ns, key, content }: { readonly ns: string; readonly key: string; readonly content: Content }): number {
    const { manifest, size } = content;
    if (size <= unboundBytesMax) return unboundBytesMax;
    const { network, holdersOf, isLimited } = this.#dependencies;
    if (size > enclosedBytesMax || isLimited) return 0;
    const listeners = network.connectedPeers();
    const holders = holdersOf(ns, key);
    const keeping = listeners.filter((peer) => holders.includes(peer)).length;
    if (keeping === 0 || keeping * 2 < listeners.length) return 0;
    const windows = this.#windowsTo(listeners);
    if (windows.some(({ bytes }) => bytes + size > windowBytesMax)) return 0;
    const atMs = this.#dependencies.clock.monotonicMs();
    for (const window of windows) {
      // One content under many names goes along with each of them.
      const bytes = size + (window.contents.get(manifest)?.bytes ?? 0);
      giveBack(window, manifest);
      window.contents.set(manifest, { bytes, atMs });
      window.bytes += bytes;
    }
    return enclosedBytesMax;
  }

  /** A peer has proved that it has a content: there is room for as much again. */
  proved(manifest: BlobHash, peer: PeerId): void {
    const window = this.#windows.get(peer);
    if (window !== undefined) giveBack(window, manifest);
  }

  /** The windows of those who are connected, without what has had its time; who has gone begins anew when it comes back. */
  #windowsTo(listeners: readonly PeerId[]): Window[] {
    for (const peer of this.#windows.keys()) if (!listeners.includes(peer)) this.#windows.delete(peer);
    const dueMs = this.#dependencies.clock.monotonicMs() - returnedAfterMs;
    return listeners.map((peer) => {
      const window = this.#windows.get(peer) ?? { contents: new Map(), bytes: 0 };
      this.#windows.set(peer, window);
      for (const [manifest, { atMs }] of window.contents) {
        if (atMs > dueMs) break;
        giveBack(window, manifest);
      }
      return window;
    });
  }
}

function giveBack(window: Window, manifest: BlobHash): void {
  window.bytes -= window.contents.get(manifest)?.bytes ?? 0;
  window.contents.delete(manifest);
}
