import type { PeerId } from '../../../crdt/ids.ts';
import type { Clock } from '../../ports/clock.ts';
import { MeshError } from '../../ports/mesh-error.ts';
import { MemoryStream } from './byte-stream.ts';
import type { LinkGates } from './link-gates.ts';
import type { LinkModel } from './links.ts';

/** What is written to a stream at one moment, up to so many bytes, travels together, as in one packet. */
const segmentBytesMax = 1_400;

/** Writes that travel together. */
interface Segment {
  readonly sentMs: number;
  sizeBytes: number;
  readonly arrivals: (() => void)[];
}

/** A node as its connections see it. */
export interface ConnectionEnd {
  readonly localPeer: PeerId;
  /** Hands an incoming stream to its protocol's handler; false when there is none or the peer has too many open. */
  accept(protocol: string, stream: MemoryStream): boolean;
  subscribes(topic: string): boolean;
  receiveGossip(topic: string, data: Uint8Array, from: PeerId): void;
  /** Whether it has heard this message lately. */
  hasHeard(data: Uint8Array): boolean;
  disconnected(connection: Connection): void;
}

export interface ConnectionDependencies {
  readonly clock: Clock;
  readonly links: LinkModel;
  readonly gates: LinkGates;
}

/** What two connected nodes share; each end learns of its loss by itself. */
export class Connection {
  readonly key: string;
  readonly a: ConnectionEnd;
  readonly b: ConnectionEnd;
  /** False once nothing that is on its way arrives any more. */
  carrying = true;
  readonly #clock: Clock;
  readonly #links: LinkModel;
  readonly #gates: LinkGates;
  readonly #streams = new Map<MemoryStream, ConnectionEnd>();

  constructor(dependencies: ConnectionDependencies, key: string, a: ConnectionEnd, b: ConnectionEnd) {
    this.#clock = dependencies.clock;
    this.#links = dependencies.links;
    this.#gates = dependencies.gates;
    this.key = key;
    this.a = a;
    this.b = b;
  }

  joins(node: ConnectionEnd): boolean {
    return node === this.a || node === this.b;
  }

  otherEnd(node: ConnectionEnd): ConnectionEnd {
    return node === this.a ? this.b : this.a;
  }

  /** A stream from `opener` to the other end, as that end's handler and the opener see it. */
  createStream(opener: ConnectionEnd): { readonly near: MemoryStream; readonly far: MemoryStream } {
    const other = this.otherEnd(opener);
    const near = this.#createEnd(opener, other);
    const far = this.#createEnd(other, opener);
    MemoryStream.join(near, far);
    return { near, far };
  }

  /** Runs `arrive` at the other end than `from` once after `delayMs`, unless the link is cut or held before. */
  carry(from: ConnectionEnd, delayMs: number, arrive: () => void): void {
    const to = this.otherEnd(from);
    this.#clock.setTimer(delayMs, () => {
      this.#gates.pass(from.localPeer, to.localPeer, () => {
        if (this.carrying) arrive();
      });
    });
  }

  /** Closed by one end: it is gone there at once, and at the other after the link's delay. */
  close(closer: ConnectionEnd, delayMs: number): void {
    this.carrying = false;
    this.lost(closer);
    this.#clock.setTimer(delayMs, () => this.lost(this.otherEnd(closer)));
  }

  /** One end's power failed: it learns nothing more, and the other notices after `delayMs`. */
  abandon(dead: ConnectionEnd, delayMs: number): void {
    this.carrying = false;
    this.#clock.setTimer(delayMs, () => this.lost(this.otherEnd(dead)));
  }

  /** This end notices that the connection is gone. */
  lost(end: ConnectionEnd): void {
    const reason = new MeshError('stream_failed', 'the connection to the peer was lost');
    for (const [stream, owner] of [...this.#streams]) if (owner === end) stream.fail(reason);
    end.disconnected(this);
  }

  #createEnd(owner: ConnectionEnd, remote: ConnectionEnd): MemoryStream {
    const clock = this.#clock;
    const links = this.#links;
    // Arrivals are taken from a queue in the order of sending, so that no pair of delays reorders a stream.
    const segments: Segment[] = [];
    let lastArrivalMs = 0;
    const carry = (sizeBytes: number, arrive: () => void, apart: boolean): void => {
      const nowMs = clock.monotonicMs();
      const last = segments.at(-1);
      if (!apart && last?.sentMs === nowMs && last.sizeBytes + sizeBytes <= segmentBytesMax) {
        last.sizeBytes += sizeBytes;
        last.arrivals.push(arrive);
        return;
      }
      lastArrivalMs = Math.max(
        lastArrivalMs,
        nowMs + links.streamDelayMs(owner.localPeer, remote.localPeer, sizeBytes),
      );
      segments.push({ sentMs: nowMs, sizeBytes, arrivals: [arrive] });
      this.carry(owner, lastArrivalMs - nowMs, () => {
        for (const arrival of segments.shift()?.arrivals ?? []) arrival();
      });
    };
    const stream: MemoryStream = new MemoryStream(remote.localPeer, carry, {
      onClosed: () => this.#streams.delete(stream),
      splitAt: (sizeBytes) => links.streamSplitAt?.(owner.localPeer, remote.localPeer, sizeBytes) ?? 0,
    });
    this.#streams.set(stream, owner);
    return stream;
  }
}
