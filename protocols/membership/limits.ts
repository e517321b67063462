/** Members whose descriptors are compared and sent: as many as a cluster has. */
export const descriptorsMax = 1_024;
/** Characters of one descriptor's text; its own limit is in bytes. */
export const descriptorLengthMax = 8_192;
/** Bytes of descriptors packed into one answer, so that a largest one still fits a message beside what is there. */
export const descriptorsMessageBytes = 128 * 1024;
/** Descriptors in one gossip message. A node tells of its own, one at a time. */
export const gossipedDescriptorsMax = 4;
/** Bytes of a gossip message that carries descriptors. */
export const descriptorGossipBytesMax = 36 * 1024;
/** Bytes of a heartbeat with its signature: three times what one takes. */
export const heartbeatBytesMax = 640;
