import type { PeerId } from '../../crdt/ids.ts';
import type { LinkModel } from '../../src/adapters/memory/links.ts';
import type { SeededRandom } from '../../src/adapters/memory/random.ts';
import { Draw } from './draw.ts';
import type { Trace } from './trace.ts';

/** How a run's links behave while there are faults. Times in milliseconds. */
export interface LinkProfile {
  readonly delayMsMin: number;
  /** The mean of what comes on top of the minimum, drawn from an exponential distribution. */
  readonly delayMsTail: number;
  /** Shares of gossip messages that are lost, and that arrive twice. */
  readonly lost: number;
  readonly duplicated: number;
  /** Share of the pieces of streams that are torn in two. */
  readonly torn: number;
  readonly bytesPerMs: number;
  readonly noticeMsMax: number;
}

export const calmLinks: LinkProfile = {
  delayMsMin: 1,
  delayMsTail: 0,
  lost: 0,
  duplicated: 0,
  torn: 0,
  bytesPerMs: 1_000_000,
  noticeMsMax: 1,
};

/** Draws delays, losses and repetitions, each direction of each link from a stream of its own. */
export class SimLinks implements LinkModel {
  profile: LinkProfile;
  readonly #random: SeededRandom;
  readonly #trace: Trace;
  readonly #draws = new Map<PeerId, Map<PeerId, Draw>>();
  readonly #lagMs = new Map<PeerId, number>();
  /** Links on which something is to happen when so many more pieces of streams were sent, either way. */
  readonly #fuses: { readonly ends: readonly PeerId[]; left: number; readonly act: (arrivalMs: number) => void }[] = [];
  /** Gossip messages that were lost or repeated, and pieces of streams that were torn. */
  readonly faults = { lost: 0, duplicated: 0, torn: 0 };

  constructor(random: SeededRandom, trace: Trace, profile: LinkProfile) {
    this.#random = random;
    this.#trace = trace;
    this.profile = profile;
  }

  /** Everything to and from a peer takes so much longer. */
  lag(peer: PeerId, lagMs: number): void {
    if (lagMs > 0) this.#lagMs.set(peer, lagMs);
    else this.#lagMs.delete(peer);
  }

  /** Calls `act` when the so-many-th piece from now on is sent between the two, with how long it will take to arrive. */
  countDown(a: PeerId, b: PeerId, pieces: number, act: (arrivalMs: number) => void): void {
    this.#fuses.push({ ends: [a, b], left: pieces, act });
  }

  /** Nothing that was to happen later does. */
  endCountdowns(): void {
    this.#fuses.length = 0;
  }

  connectDelayMs(a: PeerId, b: PeerId): number {
    return 2 * this.#delayMs(a, b, 0);
  }

  noticeDelayMs(a: PeerId, b: PeerId): number {
    const { noticeMsMax } = this.profile;
    return noticeMsMax <= 1 ? noticeMsMax : this.#drawOf(a, b).between(1, noticeMsMax);
  }

  streamDelayMs(from: PeerId, to: PeerId, bytes: number): number {
    const delayMs = this.#delayMs(from, to, bytes);
    for (const fuse of this.#fuses) {
      if (!fuse.ends.includes(from) || !fuse.ends.includes(to)) continue;
      fuse.left -= 1;
      if (fuse.left > 0) continue;
      this.#fuses.splice(this.#fuses.indexOf(fuse), 1);
      fuse.act(delayMs);
      break;
    }
    return delayMs;
  }

  streamSplitAt(from: PeerId, to: PeerId, bytes: number): number {
    const { torn } = this.profile;
    if (torn === 0 || bytes < 2) return 0;
    const draw = this.#drawOf(from, to);
    if (!draw.chance(torn)) return 0;
    this.faults.torn += 1;
    return draw.integer(1, bytes - 1);
  }

  gossipDelaysMs(from: PeerId, to: PeerId, bytes: number): readonly number[] {
    const { lost, duplicated } = this.profile;
    if (lost > 0 && this.#drawOf(from, to).chance(lost)) {
      this.faults.lost += 1;
      return [];
    }
    const first = this.#delayMs(from, to, bytes);
    if (duplicated === 0 || !this.#drawOf(from, to).chance(duplicated)) return [first];
    this.faults.duplicated += 1;
    return [first, this.#delayMs(from, to, bytes)];
  }

  #delayMs(from: PeerId, to: PeerId, bytes: number): number {
    const { delayMsMin, delayMsTail, bytesPerMs } = this.profile;
    const lagMs = (this.#lagMs.get(from) ?? 0) + (this.#lagMs.get(to) ?? 0);
    const tailMs = delayMsTail === 0 ? 0 : -Math.log(1 - this.#drawOf(from, to).random.fraction()) * delayMsTail;
    const delayMs = delayMsMin + tailMs + bytes / bytesPerMs + lagMs;
    this.#trace.mix(delayMs);
    return delayMs;
  }

  #drawOf(from: PeerId, to: PeerId): Draw {
    let draws = this.#draws.get(from);
    if (draws === undefined) {
      draws = new Map();
      this.#draws.set(from, draws);
    }
    let draw = draws.get(to);
    if (draw === undefined) {
      draw = new Draw(this.#random.split(`${from} ${to}`));
      draws.set(to, draw);
    }
    return draw;
  }
}
