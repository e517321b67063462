/** The protocol's name and bounds, agreed between both ends. */

/** Libp2p protocol id; a change that old peers cannot follow raises the version. */
export const replicasProtocol = '/anabranch/replicas/1.0.0';
/** Streams a peer may have open to us at once: for questions, proofs, checks and views of the mesh, and those that are closing. */
export const inboundStreamsMax = 12;
/** Challenges in one message. */
export const challengesMax = 256;
/** Places of a content that one challenge names. */
export const pointsMax = 16;
/** The longest that somebody can be bound not to drop a content, in milliseconds. */
export const leaseMsMax = 60 * 60_000;
/** Orders in one message, and holders that one of them names: 215 KiB with the longest keys. */
export const ordersMax = 128;
export const orderHoldersMax = 16;
/** Checks of others, and contents asked about, in one message. */
export const checksMax = 64;
export const manifestsMax = 64;
/** Holders that are named of one content. */
export const holdersMax = 64;
/** While an answer takes long, a sign of life comes at least so often, in milliseconds. */
export const workingEveryMs = 5_000;
/** Pulls of a plan that are listed in one message: 220 KiB with the longest keys. */
export const plannedMax = 96;
/** Moves that a preview lists, and nodes whose share of it is told: a cluster has no more members. */
export const listedMovesMax = 40;
export const movedNodesMax = 1_024;
/** How long a coordinator is waited for that audits, in milliseconds. */
export const auditWaitMsMax = 30_000;
