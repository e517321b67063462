const projectUrl = new URL('../../', import.meta.url).href;

/** What the main thread does for a write, each with the modules that are nothing else. The first that fits counts. */
const stages: readonly (readonly [string, RegExp])[] = [
  ['HTTP', /^(src\/http\/|fastify|node:_?http|node:_http|node:net|node:internal\/(streams|stream_base|http|url))/],
  ['hashes (BLAKE3)', /^crdt\/digest/],
  ['signatures', /^crdt\/signature/],
  ['LMDB', /^(src\/adapters\/lmdb\/|lmdb|ordered-binary|msgpackr)/],
  [
    'content: chunks, manifests, their rows',
    /^(src\/node\/content\/|src\/adapters\/files\/|crdt\/(chunking|manifest))/,
  ],
  ['the Automerge change', /^(crdt\/object-document|@automerge)/],
  [
    'confirmation',
    /^(protocols\/quorum\/|src\/node\/confirmation\/|crdt\/(quorum\/|certificate|merkle-log|vote-batch|confirm|rendezvous))/,
  ],
  ['copies: intents, inventory, proofs', /^(src\/replication\/|protocols\/replicas\/|crdt\/(placement|replica))/],
  [
    'the record: text, context, rights',
    /^(crdt\/(version|canonical-json|causality|object-name|base32|ids|node-name|control)|src\/control\/)/,
  ],
  ["the object's rows: heads, index, feed, events", /^(src\/node\/|crdt\/(document-digest|fingerprint-tree))/],
  [
    'the mesh: membership, gossip, libp2p',
    /^(protocols\/|src\/adapters\/(libp2p|system)\/|crdt\/member|@libp2p|libp2p)/,
  ],
  ['garbage collection', /^\(garbage collector\)$/],
  ["node's own: event loop, timers, promises", /^(node:|\(program\)|\(root\))/],
];
const elsewhere = 'all else';

/** All stages there are, in this order. */
export const stageNames: readonly string[] = [...stages.map(([name]) => name), elsewhere];

/**
 * The stage that a stack, its leaf first, belongs to: that of the nearest function of this project, whatever library it
 * had at work; else of the nearest library; else of what V8 calls the leaf.
 */
export function stageOf(stack: readonly { readonly functionName: string; readonly url: string }[]): string {
  const modules = stack.map(({ url }) => moduleOf(url));
  const own = modules.find((module) => /^(src|crdt|protocols)\//.test(module));
  const library = modules.find((module) => module !== '');
  const subject = own ?? library ?? stack[0]?.functionName ?? '';
  return stages.find(([, pattern]) => pattern.test(subject))?.[0] ?? elsewhere;
}

/** `src/http/server.ts` of this project, `fastify` of a library, `node:net` of Node.js; empty for what has no module. */
function moduleOf(url: string): string {
  const library = /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)?.[1];
  if (library !== undefined) return library;
  if (url.startsWith(projectUrl)) return url.slice(projectUrl.length);
  return url.startsWith('node:') ? url : '';
}
