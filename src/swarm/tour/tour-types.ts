import type { AnabranchClient } from '../../client/http-client.ts';

/** What the tour may do to the mesh beside talking to its nodes. */
export interface SwarmControl {
  /** Nodes of different groups, given by name, lose sight of each other. */
  partition(groups: readonly (readonly string[])[]): Promise<void>;
  heal(): Promise<void>;
  /** Ends a node's process at once, as a power cut does. */
  killNode(name: string): Promise<void>;
  startNode(name: string): Promise<void>;
}

export interface TourNode {
  readonly name: string;
  readonly client: AnabranchClient;
}

/** Counts up to a total while something runs. */
export interface Progress {
  update(done: number): void;
  /** Ends the display, whatever the count. */
  end(): void;
}

/** How the tour tells what it does. */
export interface Narrator {
  /** Plain text, wrapped to the width of the page. */
  say(text: string): void;
  /** Lines shown as they are. */
  show(lines: readonly string[]): void;
  stepBegins(number: number, title: string, explanation: string): void;
  stepHeld(outcome: string, elapsedMs: number): void;
  stepFailed(reason: string, elapsedMs: number): void;
  progress(label: string, total: number, unit: 'files' | 'bytes'): Progress;
}

/** A step of the tour did not hold: what was expected, and what was seen instead. */
export class TourFault extends Error {
  constructor(message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'TourFault';
  }
}
