import type { Actor, NodeId } from './ids.ts';

// 26 characters carry 130 bits for 128 and 13 carry 65 for 64: the last character's spare bits are zero,
// which leaves every fourth and every second letter of the alphabet `a` to `z`, `2` to `7`.
const nodeIdPattern = /^[a-z2-7]{25}[aeimquy4]$/;
const actorPattern = /^[a-z2-7]{25}[aeimquy4]\.[a-z2-7]{12}[acegikmoqsuwy246]$/;

/** True for 26 characters of canonical lowercase base32: the text of 128 bits. */
export function isNodeId(text: string): text is NodeId {
  return nodeIdPattern.test(text);
}

/** True for `<nodeId>.<incarnation>`, the incarnation being 13 characters of canonical lowercase base32. */
export function isActor(text: string): text is Actor {
  return actorPattern.test(text);
}
