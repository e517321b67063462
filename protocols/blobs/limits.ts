/** The protocol's name and bounds, agreed between both ends. */

/** Libp2p protocol id; a change that old peers cannot follow raises the version. */
export const blobsProtocol = '/anabranch/blobs/1.0.0';
/** The largest blob a holder may send: twice the largest chunk of the default profile, and more than a full manifest. */
export const blobBytesMax = 4 * 1024 * 1024;
/** Hashes in one want message. */
export const wantHashesMax = 1_024;
/** Streams of this protocol a peer may have open to us at once: one in use, one that is closing. */
export const inboundStreamsMax = 2;
