import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { blake3, toHex } from '../../../crdt/digest.ts';
import { prepareSwarm } from '../../../src/swarm/swarm-directory.ts';
import { generateFile } from '../../../src/swarm/tour/generated-file.ts';
import { createNarrator, wrap } from '../../../src/swarm/tour/narrator.ts';
import { playTour, type TourResult } from '../../../src/swarm/tour/play-tour.ts';
import { listProjectFiles } from '../../../src/swarm/tour/project-files.ts';
import type { SwarmControl, TourNode } from '../../../src/swarm/tour/tour-types.ts';
import { HttpMesh } from '../../support/http-mesh.ts';

let project: string;
beforeAll(async () => {
  project = await mkdtemp(join(tmpdir(), 'anabranch-tour-'));
  await writeFile(join(project, 'README.md'), '# A project\n');
  await writeFile(join(project, 'empty'), '');
});
afterAll(() => rm(project, { recursive: true }));

interface Told {
  readonly result: TourResult;
  readonly text: string;
}

async function play(mesh: HttpMesh, control: SwarmControl = mesh, signal?: AbortSignal): Promise<Told> {
  let text = '';
  const narrator = createNarrator({
    write: (piece) => {
      text += piece;
    },
    style: (_name, styled) => styled,
    progress: () => ({ update: () => undefined, end: () => undefined }),
  });
  const nodes = mesh.nodes as unknown as readonly [TourNode, ...TourNode[]];
  const options = { nodes, projectRoot: project, generatedBytes: 3_000_000 };
  const result = await playTour({ control, narrator }, { ...options, signal: signal ?? new AbortController().signal });
  return { result, text };
}

async function withMesh(count: number, run: (mesh: HttpMesh) => Promise<void>): Promise<void> {
  const mesh = await HttpMesh.start(count);
  try {
    await run(mesh);
  } finally {
    await mesh.stop();
  }
}

describe('the tour', () => {
  it('holds on a mesh that does what it says, and again beside the data of the first time', async () => {
    await withMesh(3, async (mesh) => {
      const first = await play(mesh);
      expect(first.result).toEqual({ held: true, objects: 'tour/run-1/' });
      expect(first.text.match(/✓/g)).toHaveLength(9);
      expect(first.text).toContain('From --nodes 4 on');
      expect(first.text).not.toContain('✗');
      expect(first.text).toContain('Nothing is stored yet');
      expect(first.text).toContain('Every step held.');
      for (const { client } of mesh.nodes) expect((await client.graph('tour', 'run-1/plan.txt')).heads).toHaveLength(1);
      const second = await play(mesh);
      expect(second.result).toEqual({ held: true, objects: 'tour/run-2/' });
      expect(second.text.replace(/\s+/g, ' ')).toContain(
        'They still hold the 4 objects of earlier runs; this is tour 2.',
      );
    });
  });

  it('kills a node where others can take its place, and starts it again', async () => {
    await withMesh(4, async (mesh) => {
      const { result, text } = await play(mesh);
      expect(result.held, text).toBe(true);
      expect(text.match(/✓/g)).toHaveLength(11);
      const told = text.replace(/\s+/g, ' ');
      expect(told).toContain('dc1: n1, n4');
      expect(told).toMatch(
        /Holders of tour\/run-1\/generated-file: n\d in dc\d, proved n\d in dc\d, proved n\d in dc\d, proved/,
      );
      // By the names of the nodes, which are drawn at random, n4 may be the home of none of so few files.
      expect(told).toMatch(
        /What the others would copy without n4: (n1 fetches run-1\/|nothing: the others have enough copies)/,
      );
      expect(told).toContain('n1, n2, and n3 can read them.');
      expect(told).toMatch(/\d+ of \d+ versions have a copy to spare, and none has too few/);
    });
  }, 60_000);

  it('holds again and again where it has killed a node before, and left copies to spare', async () => {
    await withMesh(4, async (mesh) => {
      for (const run of [1, 2, 3]) {
        const { result, text } = await play(mesh);
        expect(result, text).toEqual({ held: true, objects: `tour/run-${run}/` });
        expect(text.match(/✓/g)).toHaveLength(11);
      }
    });
  }, 180_000);

  it('draws both branches and their merge', async () => {
    await withMesh(2, async (mesh) => {
      const { text } = await play(mesh);
      const drawings = text
        .split('newest first:\n')
        .slice(1)
        .map((part) => part.split('\n').map((line) => line.trim()));
      expect(drawings[0]?.slice(0, 4)).toEqual([
        expect.stringMatching(/^● .* ← head(, preferred)?$/),
        expect.stringMatching(/^│ ● .* ← head(, preferred)?$/),
        '├─╯',
        expect.stringMatching(/^○ {3}.* on n1 /),
      ]);
      expect(drawings[1]?.slice(0, 2)).toEqual([expect.stringMatching(/^● \S+ merge .* ← head, preferred$/), '├─╮']);
      expect(drawings[0]?.filter((line) => line.endsWith('confirmed  ← head, preferred'))).toHaveLength(1);
      expect(text).toContain('Conflict raised on every node: 2 heads');
      expect(text).toContain('Both writes were accepted, and one of them is confirmed.');
    });
  });

  it('shows what one node alone can show', async () => {
    await withMesh(1, async (mesh) => {
      const { result, text } = await play(mesh);
      expect(result.held).toBe(true);
      expect(text).toContain('n1 is alone, so there is no mesh to cut.');
    });
  });

  it('tells which step did not hold, and heals what it has cut', async () => {
    await withMesh(2, async (mesh) => {
      const calls: string[] = [];
      const control: SwarmControl = {
        partition: async () => {
          calls.push('partition');
          throw new Error('the scissors are blunt');
        },
        heal: async () => void calls.push('heal'),
        killNode: async () => void calls.push('kill'),
        startNode: async () => void calls.push('start'),
      };
      const { result, text } = await play(mesh, control);
      expect(result.held).toBe(false);
      expect(text).toMatch(/6\. The mesh is cut in two\n.*✗ the scissors are blunt/s);
      expect(text).not.toContain('7. ');
      expect(calls).toEqual(['partition', 'heal']);
    });
  });

  it('ends with the reason of its signal', async () => {
    await withMesh(1, async (mesh) => {
      const reason = new Error('enough');
      await expect(play(mesh, mesh, AbortSignal.abort(reason))).rejects.toBe(reason);
    });
  });
});

describe('the generated file', () => {
  it('is the same for the same seed, of any size', () => {
    const whole = Buffer.concat([...generateFile('seed', 2_500_000)]);
    expect(whole.length).toBe(2_500_000);
    // openssl enc -aes-256-ctr -K <BLAKE3 of "seed"> -iv 0…0 makes the same of 2,500,000 zeros.
    expect(toHex(blake3(whole))).toBe('6df0f760d60243ae5cefd26b9898bc0f94f6d8a2971859e5f32f797115736734');
    expect(Buffer.concat([...generateFile('seed', 1_048_577)]).equals(whole.subarray(0, 1_048_577))).toBe(true);
    expect([...generateFile('seed', 0)]).toEqual([]);
  });
});

describe('the files of a project', () => {
  it('are listed without git as well, in order, with their sizes', async () => {
    const files = await listProjectFiles(project);
    expect(files.map(({ path, size }) => [path, size])).toEqual([
      ['README.md', 12],
      ['empty', 0],
    ]);
  });

  it.each(['without git', 'with git'])(
    'are not those of a node whose folder lies there: its key is a secret (%s)',
    async (how) => {
      const root = await mkdtemp(join(tmpdir(), 'anabranch-project-'));
      try {
        if (how === 'with git') await promisify(execFile)('git', ['init', '-q'], { cwd: root });
        await prepareSwarm(join(root, 'own', 'one'), { nodes: 1, httpPort: 7_400 });
        await writeFile(join(root, 'own', 'text'), 'text');
        expect((await listProjectFiles(root)).map(({ path }) => path)).toEqual(['own/one/peers.json', 'own/text']);
      } finally {
        await rm(root, { recursive: true });
      }
    },
  );
});

describe('the narrator', () => {
  it('has all of a step stand under its title, however long its number is', () => {
    for (const number of [9, 10]) {
      let told = '';
      const narrator = createNarrator({
        write: (text) => {
          told += text;
        },
        style: (_name, styled) => styled,
        progress: (label) => {
          told += `${label}\n`;
          return { update: () => undefined, end: () => undefined };
        },
      });
      narrator.stepBegins(number, 'title', 'explanation');
      narrator.progress('progress', 1, 'bytes');
      narrator.stepHeld('outcome', 1_000);
      const [, title = '', ...rest] = told.trimEnd().split('\n');
      const column = title.indexOf('title');
      expect(rest.map((line) => line.search(/\S/))).toEqual([column, column, column]);
    }
  });

  it('wraps at spaces and keeps line ends', () => {
    expect(wrap('one two three\nfour', 8)).toEqual(['one two', 'three', 'four']);
    expect(wrap('unbreakable', 4)).toEqual(['unbreakable']);
  });
});
