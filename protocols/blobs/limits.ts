/** The protocol's name and bounds, agreed between both ends. */

/** Libp2p protocol id; a change that old peers cannot follow raises the version. */
export const blobsProtocol = '/anabranch/blobs/1.0.0';
/** Hashes in one want message. */
export const wantHashesMax = 1_024;
/** Streams of this protocol a peer may have open to us at once: one in use, one that is closing. */
export const inboundStreamsMax = 2;
