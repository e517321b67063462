import { toHex } from '../../../crdt/digest.ts';
import {
  appendLeaf,
  consistencyProof,
  emptyPeaks,
  emptyTreeRoot,
  inclusionProof,
  leafHash,
  type MerkleNodeReader,
  rootOf,
} from '../../../crdt/merkle-log.ts';

/** The leaves of the reference tests of Certificate Transparency (google/certificate-transparency, merkletree tests). */
const leaves = ['', '00', '10', '2021', '3031', '40414243', '5051525354555657', '606162636465666768696a6b6c6d6e6f'];

export function treeOf(entries: readonly Uint8Array[]): { roots: Uint8Array[]; read: MerkleNodeReader } {
  const nodes = new Map<string, Uint8Array>();
  let tree = emptyPeaks;
  const roots = [emptyTreeRoot];
  for (const entry of entries) {
    const appended = appendLeaf(tree, leafHash(entry));
    tree = appended.peaks;
    for (const { level, index, hash } of appended.nodes) nodes.set(`${level}/${index}`, hash);
    roots.push(rootOf(tree));
  }
  const read: MerkleNodeReader = (level, index) => {
    const hash = nodes.get(`${level}/${index}`);
    if (hash === undefined) throw new Error(`no node ${level}/${index}`);
    return hash;
  };
  return { roots, read };
}

export function merkleLogVectors() {
  const { roots, read } = treeOf(leaves.map((hex) => Buffer.from(hex, 'hex')));
  const inclusion: [index: number, size: number][] = [
    [0, 1],
    [0, 8],
    [5, 8],
    [2, 3],
    [1, 5],
  ];
  const consistency: [first: number, second: number][] = [
    [1, 1],
    [1, 8],
    [6, 8],
    [2, 5],
  ];
  return {
    about:
      'The Merkle tree of RFC 6962, section 2.1, over the leaves and with the roots and proofs of the reference tests of Certificate Transparency. Everything is in hex; roots[n] is the root of the first n leaves, and proofs run from the leaf upwards.',
    leaves,
    roots: roots.map(toHex),
    inclusion: inclusion.map(([index, size]) => ({ index, size, path: inclusionProof(index, size, read).map(toHex) })),
    consistency: consistency.map(([first, second]) => ({
      first,
      second,
      path: consistencyProof(first, second, read).map(toHex),
    })),
  };
}
