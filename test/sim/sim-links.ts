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
  readonly #draws = new Map<string, Draw>();
  readonly #lagMs = new Map<PeerId, number>();
  /** Gossip messages that were lost or repeated. */
  faults = 0;

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

  connectDelayMs(a: PeerId, b: PeerId): number {
    return 2 * this.#delayMs(a, b, 0);
  }

  noticeDelayMs(a: PeerId, b: PeerId): number {
    const { noticeMsMax } = this.profile;
    return noticeMsMax <= 1 ? noticeMsMax : this.#drawOf(a, b).between(1, noticeMsMax);
  }

  streamDelayMs(from: PeerId, to: PeerId, bytes: number): number {
    return this.#delayMs(from, to, bytes);
  }

  streamSplitAt(from: PeerId, to: PeerId, bytes: number): number {
    const { torn } = this.profile;
    if (torn === 0 || bytes < 2) return 0;
    const draw = this.#drawOf(from, to);
    return draw.chance(torn) ? draw.integer(1, bytes - 1) : 0;
  }

  gossipDelaysMs(from: PeerId, to: PeerId, bytes: number): readonly number[] {
    const { lost, duplicated } = this.profile;
    if (lost > 0 && this.#drawOf(from, to).chance(lost)) {
      this.faults += 1;
      return [];
    }
    const first = this.#delayMs(from, to, bytes);
    if (duplicated === 0 || !this.#drawOf(from, to).chance(duplicated)) return [first];
    this.faults += 1;
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
    const link = `${from} ${to}`;
    const known = this.#draws.get(link);
    if (known !== undefined) return known;
    const draw = new Draw(this.#random.split(link));
    this.#draws.set(link, draw);
    return draw;
  }
}
