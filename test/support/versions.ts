import assert from 'node:assert/strict';
import { encodeCanonical } from '../../crdt/canonical-json.ts';
import { contextMax, emptyContext } from '../../crdt/causality.ts';
import { blake3, blobHashOf, toBase32, toHex } from '../../crdt/digest.ts';
import type { Actor, ClusterId, NodeId, Result } from '../../crdt/ids.ts';
import { type Signer, signerFromSeed } from '../../crdt/signature.ts';
import {
  type AncestryLookup,
  type Content,
  draftVersion,
  signVersion,
  type Version,
  type VersionFields,
} from '../../crdt/version.ts';
import type { GraphEntry } from '../../crdt/version-graph.ts';

/** The value of a result that must be one. */
export function accepted<T>(result: Result<T, unknown>): T {
  assert(result.ok, result.ok ? '' : JSON.stringify(result.error));
  return result.value;
}

/** The error of a result that must be one. */
export function refusal<E>(result: Result<unknown, E>): E {
  assert(!result.ok, 'this was expected to be refused');
  return result.error;
}

/** A made-up node: everything about it follows from its name. */
export interface TestNode {
  readonly name: string;
  readonly nodeId: NodeId;
  readonly signer: Signer;
}

const digestOf = (text: string): Uint8Array => blake3(Buffer.from(text, 'utf8'));

/** The cluster all made-up versions belong to. */
export const testCluster = toBase32(digestOf('test cluster')) as ClusterId;

/** Making a key costs more than a signature, and tests ask for the same few names again and again. */
const testNodes = new Map<string, TestNode>();

export function testNode(name: string): TestNode {
  const known = testNodes.get(name);
  if (known !== undefined) return known;
  const nodeId = toBase32(digestOf(`node ${name}`).subarray(0, 16)) as NodeId;
  const node = Object.freeze({ name, nodeId, signer: Object.freeze(signerFromSeed(digestOf(`key of ${name}`))) });
  testNodes.set(name, node);
  return node;
}

/** One life of a node; each number is another incarnation. */
export function actorOf(node: TestNode, incarnation = 1): Actor {
  const suffix = toBase32(digestOf(`incarnation ${incarnation} of ${node.name}`).subarray(0, 8));
  return `${node.nodeId}.${suffix}` as Actor;
}

export function contentOf(text: string): Content {
  const bytes = Buffer.from(text, 'utf8');
  return { manifest: blobHashOf(bytes), size: bytes.length, b3: toHex(blake3(bytes)) };
}

/** Fields of a put of `text` by the node's first life; the counter is the next one its parents leave free. */
export function fieldsOf(
  node: TestNode,
  parents: readonly Version[],
  changes: Partial<VersionFields> = {},
): VersionFields {
  const actor = changes.dot?.actor ?? actorOf(node);
  const counter = Math.max(0, ...parents.map((parent) => seenCounter(parent, actor))) + 1;
  return {
    ns: 'docs',
    key: 'notes/today.txt',
    kind: 'put',
    dot: { actor, counter },
    content: changes.kind === 'delete' ? null : contentOf('hello'),
    type: 'text/plain',
    meta: {},
    author: 'admin',
    node: node.nodeId,
    time: 1_700_000_000_000,
    log: { seq: 0, hash: testCluster },
    ...changes,
  };
}

function seenCounter(version: Version, actor: Actor): number {
  const own = version.record.dot.actor === actor ? version.record.dot.counter : 0;
  return Math.max(own, contextMax(version.context, actor));
}

/** Drafts and signs a version, which must be allowed. */
export function write(
  node: TestNode,
  parents: readonly Version[],
  changes: Partial<VersionFields> = {},
  isAncestor?: AncestryLookup,
): Version {
  const draft = accepted(draftVersion(parents, fieldsOf(node, parents, changes), isAncestor));
  return signVersion(draft, node.signer, testCluster);
}

/** The record of `version` with some fields changed, signed by the node as if all were well: a hostile member's. */
export function forge(node: TestNode, version: Version, changes: Readonly<Record<string, unknown>>): string {
  const { sig: _, ...unsigned } = version.record;
  const record = { ...unsigned, ...changes } as typeof unsigned;
  return signVersion({ record, text: encodeCanonical(record), context: emptyContext }, node.signer, testCluster).text;
}

export function graphEntry({ id, record, context }: Version): GraphEntry {
  const { parents, generation, dot, author, node } = record;
  return { id, parents, generation, dot, context, author, node };
}
