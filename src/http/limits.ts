/** Every bound of the HTTP layer. Sizes are bytes, times milliseconds. */

/**
 * Request line and headers together: a key of 1,024 bytes percent-encoded (3 KiB), 256 parents (13.5 KiB) and
 * 8 KiB of metadata percent-encoded (24 KiB) fit, with room for what clients add.
 */
export const headerBytesMax = 64 * 1024;
/** User metadata as it is stored: the UTF-8 bytes of all names and values (design section 5). */
export const metaBytesMax = 8 * 1024;
export const contentTypeBytesMax = 255;
/** JSON bodies. The largest, a merge of 256 parents, is 14 KiB. */
export const jsonBodyBytesMax = 64 * 1024;
/** Entries on one page of a list. */
export const pageEntriesMax = 1_000;
/** Past so many, a new connection is closed at once. */
export const connectionsMax = 1_024;
/** An idle connection kept for the next request; longer than what common clients keep, so they close first. */
export const keepAliveMs = 72_000;
export const heartbeatMs = 15_000;

/** The bounds that a deployment, or a test, may set otherwise. */
export interface HttpLimits {
  /** A request's headers must be here within this. */
  readonly headersMs: number;
  /** Neither side moved a byte while the client's turn was due. A transfer of any length lives on as long as it moves. */
  readonly idleMs: number;
  /** Requests in flight may finish within this once the server closes. A stop takes 5 s in all, and the node's follows. */
  readonly drainMs: number;
  /** A refused upload is read and dropped up to here, so that its client can read the answer; past it the connection is cut. */
  readonly discardBytesMax: number;
  /** Clients of `/v1/events` at once. */
  readonly eventStreamsMax: number;
}

export const defaultLimits: HttpLimits = {
  headersMs: 30_000,
  idleMs: 60_000,
  drainMs: 2_000,
  discardBytesMax: 8 * 1024 * 1024,
  eventStreamsMax: 64,
};
