import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { commandTextOf } from '../../../src/cli/command-text.ts';
import { contentOf } from '../../../src/cli/doctor-content.ts';
import * as examples from '../../../src/http/content-examples.ts';
import type { ContentScrub, GivenUp, GivenUpPage, NodeInfo } from '../../../src/node/api.ts';
import { HttpHarness, token } from '../../support/http-harness.ts';
import { runInProcess } from '../../support/run-cli.ts';

const page = examples.givenUp as unknown as GivenUpPage;
const [letter] = page.dead as [GivenUp];

let http: HttpHarness;
beforeAll(async () => {
  http = await HttpHarness.start();
});
afterAll(() => http.server.close());
afterEach(() => {
  const { content } = http.node;
  content.asked.length = 0;
  content.refusal = undefined;
  content.page = page;
  http.node.contentStatus = { dead: 0, damaged: 0, incomplete: 0, scrubbedAt: null };
  http.node.damagedRecords = 0;
});

const anabranch = (...args: readonly string[]) =>
  runInProcess(args, { env: { ANABRANCH_URL: http.server.url, ANABRANCH_TOKEN: token } });

describe('anabranch content dead', () => {
  it('lists what was given up with its object and the reason, and where the next page begins', async () => {
    http.node.content.page = {
      dead: [letter, { ...letter, kind: 'blob', version: null }],
      count: 3,
      next: letter.hash,
    };
    const lines = (await anabranch('content', 'dead', '--limit', '2')).stdout.trimEnd().split('\n');
    expect(lines[0]).toMatch(
      /^zabs\w+ {2}team-docs\/rivers\/anabranch.md {2}33 bytes {2}\d+ days ago {2}nobody has it \(312 attempts; no holder has it\)$/,
    );
    expect(lines[1]).toContain('  part of a content ');
    expect(lines[2]).toBe(`… of 3 in all: --after ${letter.hash}`);
    expect(http.node.content.asked).toEqual([{ limit: 2 }]);
    expect(JSON.parse((await anabranch('content', 'dead', '--json')).stdout).count).toBe(3);
  });

  it('says that there is nothing', async () => {
    http.node.content.page = { dead: [], count: 0, next: null };
    expect((await anabranch('content', 'dead')).stdout).toBe('nothing was given up\n');
    expect((await anabranch('content', 'retry', '--all')).stdout).toBe('nothing was given up\n');
  });
});

describe('anabranch content retry', () => {
  it('tries one again, or all, and never all by mistake', async () => {
    expect((await anabranch('content', 'retry', letter.hash)).stdout).toContain('1 content is tried again');
    expect(JSON.parse((await anabranch('content', 'retry', '--all', '--json')).stdout)).toEqual({ retried: 1 });
    expect(http.node.content.asked).toEqual([{ hash: letter.hash }, { hash: undefined }]);
    expect((await anabranch('content', 'retry')).exitCode).toBe(2);
    expect((await anabranch('content', 'retry', letter.hash, '--all')).exitCode).toBe(2);
    expect(http.node.content.asked).toHaveLength(2);
  });

  it('ends with 3 for what was not given up', async () => {
    http.node.content.refusal = { code: 'not_found', message: 'nothing of that hash was given up here' };
    expect((await anabranch('content', 'retry', letter.hash)).exitCode).toBe(3);
  });
});

describe('anabranch content scrub', () => {
  const runs = examples.scrubRuns as ContentScrub;

  it('waits until all is read, and tells what was found', async () => {
    http.node.content.scrubs.push(runs, { ...runs, position: 0.9 });
    const { stdout } = await anabranch('content', 'scrub');
    expect(stdout).toContain('the scrub goes on in the background: 0% through\n');
    expect(stdout).toMatch(/the last whole one ended \d+ days ago: 31 blobs, .*; 1 blob HAD ROTTED\n$/);
    expect(http.node.content.asked).toEqual([{ waitMs: 1_000 }]);
  });

  it('fails when the node did not get through', async () => {
    http.node.content.scrubs.push(runs, { ...runs, running: false });
    const { exitCode, stderr } = await anabranch('content', 'scrub');
    expect([exitCode, stderr]).toEqual([1, expect.stringContaining('did not read through all of its disk')]);
  });

  it('does not wait, or begins nothing, when it is told so', async () => {
    http.node.content.scrubs.push(runs, runs);
    const running = 'the scrub runs: 50% through\nno scrub has seen everything yet\n';
    expect((await anabranch('content', 'scrub', '--no-wait')).stdout).toBe(running);
    expect((await anabranch('content', 'scrub', '--status')).stdout).toBe(running);
    expect(http.node.content.asked).toEqual([{ waitMs: 0 }]);
  });
});

describe('what is damaged on the disk', () => {
  it('is told of by status, each kind by itself', async () => {
    expect((await anabranch('status')).stdout).not.toContain('DAMAGED');
    http.node.damagedRecords = 2;
    http.node.contentStatus = { ...http.node.contentStatus, damaged: 1, incomplete: 3 };
    expect((await anabranch('status')).stdout).toMatch(
      /^DAMAGED on disk +2 records of versions, 1 content, 3 contents without a part: "anabranch doctor" says what to do$/m,
    );
  });

  it('is wrong to the doctor, who says what to do', async () => {
    http.node.damagedRecords = 1;
    http.node.contentStatus = { ...http.node.contentStatus, damaged: 2, incomplete: 1 };
    const { stdout, exitCode } = await anabranch('doctor');
    expect(exitCode).toBe(1);
    for (const line of [
      "WRONG records: 1 version has a damaged record on this node's disk",
      '→ each is fetched again as soon as a node that has it is connected: start the others',
      "WRONG content: 2 contents have rotted on this node's disk",
      'then "anabranch content scrub" reads through the disk',
      'WRONG content: 1 content that was here lacks something',
    ]) {
      expect(stdout).toContain(line);
    }
  });

  it('is no more than a note once it is mended and only the scrub tells of it', async () => {
    const { stdout } = await anabranch('doctor');
    expect(stdout).toContain("note  scrub: 1 blob had rotted on this node's disk by the last scrubs");
    expect(stdout).toContain('ok    records: no damaged record is known of');
  });
});

describe('two control logs', () => {
  const forked = { seq: 7, ours: 'a'.repeat(52), theirs: 'b'.repeat(52) };

  it('are told of with both entries by status, and by the doctor with what to do', async () => {
    const { nodeId } = http.node.nodes()[0] as NodeInfo;
    http.node.cluster.forked = { ...forked, nodeId };
    try {
      expect((await anabranch('status')).stdout).toContain(
        `FORKED at entry 7: ${forked.ours} here, ${forked.theirs} elsewhere`,
      );
      const { stdout, exitCode } = await anabranch('doctor');
      expect(exitCode).toBe(1);
      expect(stdout).toContain(
        `WRONG control log: two certified entries stand at place 7 of the control log: ${forked.ours} here, ${forked.theirs} at n1`,
      );
      expect(stdout).toContain('compare "anabranch control-log export" of both, and keep the side that is right');
    } finally {
      http.node.cluster.forked = null;
    }
  });
});

describe('what was given up', () => {
  it('is told of by status', async () => {
    expect((await anabranch('status')).stdout).not.toContain('given up');
    http.node.contentStatus = { ...http.node.contentStatus, dead: 2 };
    expect((await anabranch('status')).stdout).toMatch(/^content given up +2: "anabranch content dead" lists it$/m);
  });

  it('comes with what can be done about each reason', async () => {
    http.node.contentStatus = { ...http.node.contentStatus, dead: 9 };
    const status = await http.node.status();
    const advised = (...reasons: readonly GivenUp['reason'][]): string => {
      const dead = reasons.map((reason) => ({ ...letter, reason }));
      return contentOf({ status, dead, scrub: http.node.content.scrubStatus() }, commandTextOf({}))[0]?.advice ?? '';
    };
    expect(advised('unusable', 'unusable')).toMatch(/^its manifest is made up.*write the object anew; "anabranch /);
    expect(advised('unavailable', 'failing')).toMatch(
      /^nobody had it.*; storing it failed.*; "anabranch content dead"/,
    );
    expect(advised()).toBe(
      '"anabranch content dead" lists what was given up, "anabranch content retry --all" tries it again',
    );
  });
});
