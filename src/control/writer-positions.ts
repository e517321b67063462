import type { ControlState } from '../../crdt/control/state.ts';

/** Entries of one block: as many as lie between two kept states, so that a block is folded from one of them. */
export const blockEntries = 512;
/** Blocks in memory: members that an entry leaves alone are shared with the entry before. */
const blocksMax = 4;

/** What a record's writer is judged by: the entry, and who the members were after it. */
export type WriterPosition = Pick<ControlState, 'hash' | 'members'>;

/**
 * Positions of the log that records name. Records come in the order of their documents and not of the log, so a whole
 * block is folded at the first look at one of its positions, some 50 ms, and the next looks cost nothing.
 */
export class WriterPositions {
  readonly #tip: () => ControlState;
  /** Calls back with each state from a position, a multiple of `blockEntries`, up to another. */
  readonly #fold: (from: number, to: number, each: (state: ControlState) => void) => void;
  /** The block that was looked at last is the last one. */
  readonly #blocks = new Map<number, WriterPosition[]>();

  constructor(tip: () => ControlState, fold: (from: number, to: number, each: (state: ControlState) => void) => void) {
    this.#tip = tip;
    this.#fold = fold;
  }

  /** Undefined when the log has not come so far. */
  at(seq: number): WriterPosition | undefined {
    const tip = this.#tip();
    if (seq === tip.seq) return tip;
    if (!Number.isInteger(seq) || seq < 0 || seq > tip.seq) return undefined;
    const from = seq - (seq % blockEntries);
    const block = this.#blocks.get(from);
    // A block at the end of the log may have grown since.
    const positions = block?.[seq - from] === undefined ? this.#read(from, tip.seq) : block;
    this.#blocks.delete(from);
    this.#blocks.set(from, positions);
    for (const oldest of this.#blocks.keys()) {
      if (this.#blocks.size <= blocksMax) break;
      this.#blocks.delete(oldest);
    }
    return positions[seq - from];
  }

  #read(from: number, tip: number): WriterPosition[] {
    const positions: WriterPosition[] = [];
    this.#fold(from, Math.min(from + blockEntries - 1, tip), ({ hash, members }) => positions.push({ hash, members }));
    return positions;
  }
}
