import type { PeerId } from '../../../crdt/ids.ts';

/**
 * Directed links that were told to keep, or to lose, what travels on them. A link that holds gives everything
 * back in order when it is released; what a mute one loses is gone.
 */
export class LinkGates {
  readonly #held = new Map<string, (() => void)[]>();
  readonly #mute = new Set<string>();

  hold(from: PeerId, to: PeerId): void {
    const link = directed(from, to);
    if (!this.#held.has(link)) this.#held.set(link, []);
  }

  /** Opens a held link and returns what waited, in the order it would have arrived. */
  release(from: PeerId, to: PeerId): readonly (() => void)[] {
    const link = directed(from, to);
    const waiting = this.#held.get(link) ?? [];
    this.#held.delete(link);
    return waiting;
  }

  mute(from: PeerId, to: PeerId): void {
    this.#mute.add(directed(from, to));
  }

  unmuteAll(): void {
    this.#mute.clear();
  }

  /** True when nothing can be set up between the two now, since one direction does not answer. */
  obstructs(a: PeerId, b: PeerId): boolean {
    return [directed(a, b), directed(b, a)].some((link) => this.#held.has(link) || this.#mute.has(link));
  }

  /** Lets an arrival happen now, later, or never. */
  pass(from: PeerId, to: PeerId, arrive: () => void): void {
    if (this.#mute.size === 0 && this.#held.size === 0) {
      arrive();
      return;
    }
    const link = directed(from, to);
    if (this.#mute.has(link)) return;
    const waiting = this.#held.get(link);
    if (waiting === undefined) arrive();
    else waiting.push(arrive);
  }
}

function directed(from: PeerId, to: PeerId): string {
  return `${from} ${to}`;
}
