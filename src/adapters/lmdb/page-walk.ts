import { readSync } from 'node:fs';

// Where things are in a page of LMDB's data format 2: its number, its kind, and the length of the table of its entries, which
// follows the header and tells where each begins, counted from the end of the header. An entry of a branch leads to a page; one
// of a leaf has its value beside it or in pages of its own.
const flagsOffset = 18;
const tableBytesOffset = 20;
/** Of a value in pages of its own, in the place of the table. */
const pageCountOffset = 20;
const headerBytes = 24;
const branchFlag = 1;
const leafFlag = 2;
const overflowFlag = 4;
const entryFlagsOffset = 4;
const keyLengthOffset = 6;
const entryHeaderBytes = 8;
/** The number of the pages that a value has of its own, in its place. */
const placeBytes = 8;
const valueElsewhereFlag = 1;
/** Come before the pages of any tree. */
const metaPages = 2;
/** In the place of the first page of an empty tree. */
const noPage = 0xffff_ffff_ffff_ffffn;
/** LMDB's own limit. */
const depthMax = 32;

export interface PageTree {
  readonly root: bigint;
  readonly entries: bigint;
}

interface PageFile {
  readonly fd: number;
  readonly lastPage: number;
  readonly pageBytes: number;
  /** Of the file as it was found. */
  readonly bytes: number;
}

/**
 * Whether every page is there that a tree leads to, and all its entries. It is looked for in the file itself, which LMDB must not
 * be let near before: where it comes upon a page that is none it ends the process.
 */
export function isWholeTree(file: PageFile, { root, entries }: PageTree): boolean {
  return (root === noPage ? 0 : countBelow(file, Number(root), 1)) === Number(entries);
}

function countBelow(file: PageFile, number: number, depth: number): number | undefined {
  const page = readPage(file, number, branchFlag | leafFlag);
  if (page === undefined || depth > depthMax) return undefined;
  const entries = entriesOf(page);
  if (entries === undefined) return undefined;
  if ((page.readUInt16LE(flagsOffset) & leafFlag) !== 0) {
    return entries.every((at) => hasValue(file, page, at)) ? entries.length : undefined;
  }
  let sum = 0;
  for (const at of entries) {
    const next = page.readUInt32LE(at) + page.readUInt16LE(at + entryFlagsOffset) * 2 ** 32;
    const below = countBelow(file, next, depth + 1);
    if (below === undefined) return undefined;
    sum += below;
  }
  return sum;
}

/** Whether the value of a leaf's entry begins where the entry says, and the file does not end before it does. */
function hasValue(file: PageFile, page: Buffer, at: number): boolean {
  if ((page.readUInt16LE(at + entryFlagsOffset) & valueElsewhereFlag) === 0) return true;
  const place = at + entryHeaderBytes + page.readUInt16LE(at + keyLengthOffset);
  if (place + placeBytes > page.length) return false;
  const number = Number(page.readBigUInt64LE(place));
  const first = readPage(file, number, overflowFlag);
  return first !== undefined && (number + first.readUInt32LE(pageCountOffset)) * file.pageBytes <= file.bytes;
}

/** A page that is of one of these kinds and where it belongs. */
function readPage({ fd, lastPage, pageBytes }: PageFile, number: number, kinds: number): Buffer | undefined {
  if (number < metaPages || number > lastPage) return undefined;
  const page = Buffer.alloc(pageBytes);
  readSync(fd, page, 0, pageBytes, number * pageBytes);
  const isSound = Number(page.readBigUInt64LE(0)) === number && (page.readUInt16LE(flagsOffset) & kinds) !== 0;
  return isSound ? page : undefined;
}

/** Where the page's entries begin; undefined when one lies beyond its end. */
function entriesOf(page: Buffer): number[] | undefined {
  const count = Math.min(page.readUInt16LE(tableBytesOffset), page.length - headerBytes) >> 1;
  const entries = Array.from({ length: count }, (_, index) => headerBytes + page.readUInt16LE(headerBytes + 2 * index));
  return entries.every((at) => at + entryHeaderBytes <= page.length) ? entries : undefined;
}
