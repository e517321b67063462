import { describe, expect, it } from 'vitest';
import { stageNames, stageOf } from '../../../bench/commits/stages.ts';
import { sharesOf } from '../../../bench/support/cpu-profile.ts';

const root = new URL('../../../', import.meta.url).href;
const frame = (url: string, functionName = 'run') => ({ functionName, url });
const library = (name: string): string => `${root}node_modules/${name}/index.js`;

describe("the stage that a sample of a write's profile counts for", () => {
  it.each([
    ['HTTP', [frame('node:internal/streams/readable'), frame(`${root}src/http/objects.ts`)]],
    ['HTTP', [frame(library('fastify')), frame('node:_http_server')]],
    [
      'LMDB',
      [frame(library('lmdb')), frame(`${root}src/adapters/lmdb/kv.ts`), frame(`${root}src/node/object-store.ts`)],
    ],
    ['hashes (BLAKE3)', [frame(library('@napi-rs/blake-hash')), frame(`${root}crdt/digest.ts`)]],
    ["the object's rows: heads, index, feed, events", [frame('', 'get'), frame(`${root}src/node/object-store.ts`)]],
    ['content: chunks, manifests, their rows', [frame(`${root}src/node/content/ingest.ts`)]],
    ['confirmation', [frame(`${root}src/node/confirmation/confirmation-queue.ts`)]],
    ['the mesh: membership, gossip, libp2p', [frame(library('@libp2p/gossipsub'))]],
    ['garbage collection', [frame('', '(garbage collector)'), frame('', '(root)')]],
    ["node's own: event loop, timers, promises", [frame('', '(program)'), frame('', '(root)')]],
    ['all else', [frame(library('left-pad'))]],
  ] as const)('is %s by the nearest module of the project', (stage, stack) => {
    expect(stageOf(stack)).toBe(stage);
    expect(stageNames).toContain(stage);
  });

  it('is asked about the whole stack, leaf first, and weighs as many samples as met the leaf, idle ones left out', () => {
    const nodes = [
      { id: 1, callFrame: frame('', '(root)'), children: [2, 4, 5] },
      { id: 2, callFrame: frame('a', 'outer'), hitCount: 1, children: [3] },
      { id: 3, callFrame: frame('b', 'inner'), hitCount: 5 },
      { id: 4, callFrame: frame('', '(idle)'), hitCount: 100 },
      { id: 5, callFrame: frame('c', 'other'), hitCount: 2 },
    ];
    const names = (stack: readonly { readonly functionName: string }[]): string =>
      stack.map(({ functionName }) => functionName).join(' < ');
    expect(Object.fromEntries(sharesOf({ nodes }, names))).toEqual({
      'outer < (root)': 1 / 8,
      'inner < outer < (root)': 5 / 8,
      'other < (root)': 2 / 8,
    });
  });
});
