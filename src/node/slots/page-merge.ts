/** A page of entries in the order of their names, and up to which name they are all there is; null for no more. */
export interface MergePage<Entry> {
  readonly entries: readonly Entry[];
  readonly next: string | null;
}

/** One of several places that each have some of what is listed. */
export interface MergeSource<Entry> {
  page(after: string | undefined): Promise<MergePage<Entry>>;
}

interface Lane<Entry> {
  readonly source: MergeSource<Entry>;
  entries: readonly Entry[];
  /** All that the source has up to here came; undefined before the first page, null when that is all. */
  through: string | null | undefined;
}

/** Pages taken from one source for one page of the whole; past it that one is shorter than was asked for. */
const pagesMax = 64;

/**
 * One page of what several sources have together, in the order of their names' UTF-8 bytes, each name once. It may be
 * shorter than the limit, and `next` may be a name that is not in it. Rejects with what a source rejects with.
 */
export async function mergePages<Entry>(
  sources: readonly MergeSource<Entry>[],
  nameOf: (entry: Entry) => string,
  { after, limit }: { readonly after: string | undefined; readonly limit: number },
): Promise<MergePage<Entry>> {
  const lanes = sources.map((source): Lane<Entry> => ({ source, entries: [], through: undefined }));
  const merged: Entry[] = [];
  for (let round = 0; round < pagesMax && lanes.some(isDry); round += 1) {
    await Promise.all(lanes.filter(isDry).map((lane) => refill(lane, after)));
    const isFull = takeCertain(lanes, nameOf, { merged, limit });
    if (isFull) return { entries: merged, next: nameOf(merged.at(-1) as Entry) };
  }
  // Nothing up to the least of what is certain of each is left behind.
  const ends = lanes.filter(isDry).map(({ through }) => through ?? '');
  return { entries: merged, next: ends.length === 0 ? null : ends.reduce(lesser) };
}

/** True for names in the order of their UTF-8 bytes, the same one twice included. */
function isInOrder(left: string, right: string): boolean {
  return Buffer.compare(Buffer.from(left), Buffer.from(right)) <= 0;
}

function lesser(left: string, right: string): string {
  return isInOrder(left, right) ? left : right;
}

function isDry<Entry>({ entries, through }: Lane<Entry>): boolean {
  return entries.length === 0 && through !== null;
}

async function refill<Entry>(lane: Lane<Entry>, after: string | undefined): Promise<void> {
  const { entries, next } = await lane.source.page(lane.through ?? after);
  lane.entries = entries;
  lane.through = next;
}

/** Moves what no source can come before any more; true when the page is full and there is more. */
function takeCertain<Entry>(
  lanes: readonly Lane<Entry>[],
  nameOf: (entry: Entry) => string,
  { merged, limit }: { readonly merged: Entry[]; readonly limit: number },
): boolean {
  for (;;) {
    const heads = lanes.flatMap(({ entries }) => entries.slice(0, 1));
    const [first, ...others] = heads;
    if (first === undefined) return merged.length === limit && lanes.some(isDry);
    if (merged.length === limit) return true;
    const least = others.reduce((best, head) => (isInOrder(nameOf(best), nameOf(head)) ? best : head), first);
    const name = nameOf(least);
    if (lanes.some((lane) => isDry(lane) && !isInOrder(name, lane.through ?? ''))) return false;
    merged.push(least);
    for (const lane of lanes) {
      const [head] = lane.entries;
      if (head !== undefined && nameOf(head) === name) lane.entries = lane.entries.slice(1);
    }
  }
}
