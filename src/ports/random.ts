/** Randomness as the node sees it: the system's source in production, a seeded stream in the simulator. */
export interface Random {
  /** `length` unpredictable bytes. */
  bytes(length: number): Uint8Array;
  /** A number in [0, 1), for jitter and sampling. */
  fraction(): number;
}
