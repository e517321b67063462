import type { GraphVersion } from '../node/api.ts';

/** Enough of an id to tell a person's versions apart; commands take any unambiguous beginning. */
const shortIdChars = 10;

export interface DrawnVersion {
  readonly version: string;
  readonly parents: readonly string[];
  readonly generation: number;
}

export function shortId(version: string): string {
  return version.slice(0, shortIdChars);
}

/**
 * Draws a version graph as lines of text, newest first, as `git log --graph` does: every version stands on
 * one line, above all its ancestors; a lane runs from it to each parent. Parents that are not among
 * `versions` are left out. `describe` gives the text beside a version's mark.
 */
export function drawGraph<V extends DrawnVersion>(
  versions: readonly V[],
  heads: readonly string[],
  preferred: string,
  describe: (version: V) => string,
): string[] {
  const known = new Set(versions.map(({ version }) => version));
  const headSet = new Set(heads);
  const lines: string[] = [];
  // Each lane holds the version it leads down to; a hole is free for the next lane.
  const lanes: (string | undefined)[] = [];
  // The lane that ended one line above: a mark right below would look like a parent of what is not its child.
  let ended: number | undefined;
  for (const version of versions.toSorted(newestFirst)) {
    const [column, ...joining] = lanesTo(lanes, version.version, ended);
    if (joining.length > 0) lines.push(connector(lanes, column, joining, '┴', '╯'));
    for (const lane of joining) lanes[lane] = undefined;
    lanes[column] = version.version;
    const isHead = headSet.has(version.version);
    const note = isHead ? (version.version === preferred ? '  ← head, preferred' : '  ← head') : '';
    lines.push(`${markRow(lanes, column, isHead ? '●' : '○')} ${describe(version)}${note}`);
    const parents = version.parents.filter((parent) => known.has(parent));
    lanes[column] = parents[0];
    ended = parents.length === 0 ? column : undefined;
    const opened = parents.slice(1).map((parent) => openLane(lanes, column, parent));
    if (opened.length > 0) lines.push(connector(lanes, column, opened, '┬', '╮'));
    while (lanes.length > 0 && lanes.at(-1) === undefined) lanes.pop();
  }
  return lines;
}

function newestFirst(a: DrawnVersion, b: DrawnVersion): number {
  if (a.generation !== b.generation) return b.generation - a.generation;
  return a.version < b.version ? 1 : -1;
}

/** The lanes that lead to this version, leftmost first; a free one, other than `ended`, when it has no child. */
function lanesTo(
  lanes: readonly (string | undefined)[],
  version: string,
  ended: number | undefined,
): [number, ...number[]] {
  const waiting = lanes.flatMap((target, lane) => (target === version ? [lane] : []));
  const [first, ...rest] = waiting;
  if (first !== undefined) return [first, ...rest];
  let free = 0;
  while (lanes[free] !== undefined || free === ended) free += 1;
  return [free];
}

/** Takes the first free lane to the right of `column`, so that connectors only ever run to the right. */
function openLane(lanes: (string | undefined)[], column: number, parent: string): number {
  const free = lanes.indexOf(undefined, column + 1);
  const lane = free === -1 ? lanes.length : free;
  lanes[lane] = parent;
  return lane;
}

function markRow(lanes: readonly (string | undefined)[], column: number, mark: string): string {
  return Array.from(lanes, (target, lane) => (lane === column ? mark : target === undefined ? ' ' : '│')).join(' ');
}

/** One line that joins `column` with lanes to its right; other lanes on the way are crossed. */
function connector(
  lanes: readonly (string | undefined)[],
  column: number,
  joined: readonly number[],
  between: string,
  last: string,
): string {
  const end = Math.max(...joined);
  const cells = Array.from(lanes, (target, lane) => {
    if (lane === column) return '├─';
    if (lane === end) return `${last} `;
    if (lane < column || lane > end) return target === undefined ? '  ' : '│ ';
    if (joined.includes(lane)) return `${between}─`;
    return target === undefined ? '──' : '┼─';
  });
  return cells.join('').trimEnd();
}

/** One version in a line: id, what it is, where and when it was written. Times are for display only. */
export function describeVersion(version: GraphVersion, nodeNames: ReadonlyMap<string, string>): string {
  const node = nodeNames.get(version.node) ?? version.node;
  const what = version.kind === 'delete' ? 'delete' : `${version.kind} ${formatBytes(version.size ?? 0)}`;
  const confirmed = version.state === 'confirmed' ? ' confirmed' : '';
  return `${shortId(version.version)} ${what} by ${version.author} on ${node} at ${formatTime(version.time)}${confirmed}`;
}

export function formatTime(timeMs: number): string {
  const date = new Date(timeMs);
  return Number.isNaN(date.getTime()) ? 'an unknown time' : `${date.toISOString().slice(0, 19).replace('T', ' ')} UTC`;
}

export function formatBytes(bytes: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  if (unit === 0) return bytes === 1 ? '1 byte' : `${bytes} bytes`;
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}
