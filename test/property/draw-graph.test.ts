import fc from 'fast-check';
import { expect, it } from 'vitest';
import { type DrawnVersion, drawGraph } from '../../src/client/draw-graph.ts';

/** Random graphs: each version takes any earlier ones as parents; ids say nothing about the order. */
const histories = fc
  .array(fc.record({ id: fc.stringMatching(/^[a-z2-7]{6}$/), picks: fc.array(fc.nat(), { maxLength: 4 }) }), {
    minLength: 1,
    maxLength: 40,
  })
  .map((drafts) => {
    const versions: DrawnVersion[] = [];
    for (const { id, picks } of new Map(drafts.map((draft) => [draft.id, draft])).values()) {
      const chosen = new Set(versions.length === 0 ? [] : picks.map((pick) => versions[pick % versions.length]));
      const parents = [...chosen].filter((parent) => parent !== undefined);
      const generation = 1 + Math.max(0, ...parents.map((parent) => parent.generation));
      versions.push({ version: id, parents: parents.map(({ version }) => version), generation });
    }
    return versions;
  });

function drawn(versions: readonly DrawnVersion[]): string[] {
  const superseded = new Set(versions.flatMap(({ parents }) => parents));
  const heads = versions.map(({ version }) => version).filter((version) => !superseded.has(version));
  return drawGraph(versions, heads, heads[0] ?? '', ({ version }) => version);
}

/** Reads a drawing as a person does: lines lead down from each mark to the marks of its parents. */
function readDrawing(lines: readonly string[]): { order: string[]; edges: Set<string> } {
  const order: string[] = [];
  const edges = new Set<string>();
  let lanes: Set<string>[] = [];
  for (const line of lines) {
    const cells = [...line.replace(/[a-z2-7].*/, '')];
    const marks = /^([^a-z2-7]*?)([●○])[^a-z2-7]*([a-z2-7]{6})/.exec(line);
    const id = marks?.[3];
    if (id !== undefined) {
      order.push(id);
      const column = [...(marks?.[1] ?? '')].length / 2;
      for (const child of lanes[column] ?? []) edges.add(`${child}>${id}`);
      lanes[column] = new Set([id]);
    } else {
      lanes = connect(lanes, cells);
    }
    // A lane that is not drawn leads nowhere.
    lanes = Array.from(lanes, (lane, column) => (' ' === (cells[2 * column] ?? ' ') ? new Set() : (lane ?? new Set())));
  }
  return { order, edges };
}

function connect(lanes: readonly Set<string>[], cells: readonly string[]): Set<string>[] {
  const next = Array.from(lanes, (lane) => new Set(lane));
  const start = cells.indexOf('├') / 2;
  for (let column = 0; 2 * column < cells.length; column += 1) {
    const cell = cells[2 * column];
    if (cell === '┴' || cell === '╯') {
      for (const source of lanes[column] ?? []) next[start]?.add(source);
      next[column] = new Set();
    }
    if (cell === '┬' || cell === '╮') next[column] = new Set(lanes[start]);
  }
  return next;
}

it('shows every version exactly once, and above all its parents', () => {
  fc.assert(
    fc.property(histories, (versions) => {
      const { order } = readDrawing(drawn(versions));
      expect(order.toSorted()).toEqual(versions.map(({ version }) => version).toSorted());
      for (const { version, parents } of versions) {
        for (const parent of parents) expect(order.indexOf(parent)).toBeGreaterThan(order.indexOf(version));
      }
    }),
  );
});

it('can be read back: its lines join each version with exactly its parents', () => {
  fc.assert(
    fc.property(histories, (versions) => {
      const expected = versions.flatMap(({ version, parents }) => parents.map((parent) => `${version}>${parent}`));
      expect([...readDrawing(drawn(versions)).edges].toSorted()).toEqual(expected.toSorted());
    }),
  );
});

it('is the same in whatever order the versions are given', () => {
  fc.assert(
    fc.property(histories, (versions) => {
      expect(drawn(versions.toReversed()).map(shape)).toEqual(drawn(versions).map(shape));
    }),
  );
});

/** Which head is preferred is the caller's to say, and here follows the order. */
function shape(line: string): string {
  return line.replace(', preferred', '');
}
