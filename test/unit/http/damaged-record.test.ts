import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { VersionId } from '../../../crdt/ids.ts';
import type { MeshNode } from '../../../src/node/api.ts';
import { versionKey } from '../../../src/node/storage-keys.ts';
import { HttpHarness, token } from '../../support/http-harness.ts';
import { Mesh, type TestNode } from '../../support/mesh.ts';
import { runInProcess } from '../../support/run-cli.ts';

const said =
  'A part of what this node has stored is damaged on its disk and was not used. A damaged version is fetched again as ' +
  'soon as a peer that has it is connected; the log of the node has its name.';

let mesh: Mesh;
let http: HttpHarness<MeshNode>;

let base: VersionId;
let spoilt: VersionId;

/** A node that has nobody to ask, and on whose disk a head's record rotted while it was down. */
beforeEach(async () => {
  mesh = await Mesh.start(['alice']);
  base = (await mesh.put('alice', 'spoilt', 'base')).version;
  spoilt = (await mesh.put('alice', 'spoilt', 'text')).version;
  await mesh.put('alice', 'sound', 'text');
  await mesh.stopNode('alice');
  await spoil(mesh.get('alice'), spoilt);
  http = await HttpHarness.over((await mesh.startNode('alice')).node);
});

afterEach(async () => {
  await http.server.close();
  await mesh.stop();
});

/** Flips a bit in the middle of the stored text of a version. */
async function spoil({ kv }: TestNode, version: VersionId): Promise<void> {
  const text = Buffer.from(kv.get(versionKey(version)) ?? []);
  text.writeUInt8(text.readUInt8(text.length >> 1) ^ 1, text.length >> 1);
  await mesh.run(kv.transact((transaction) => transaction.put(versionKey(version), text)));
}

/** What is asked of the node, while its clock goes on. */
async function meanwhile<T>(asking: Promise<T>): Promise<T> {
  let isOver = false;
  const over = asking.finally(() => {
    isOver = true;
  });
  while (!isOver) await mesh.settle(5).then(() => new Promise(setImmediate));
  return over;
}

describe('a record that is damaged on disk', () => {
  it.each(['/v1/objects/test/spoilt', '/v1/graphs/test/spoilt'])(
    'has a code of its own at GET %s, and is named in the log',
    async (path) => {
      const answer = await http.ask('GET', path);
      expect([answer.status, answer.json.code, answer.json.detail]).toEqual([503, 'damaged', said]);
      const { fields } = http.log.linesOf('http:failed').at(-1) ?? {};
      expect(String(fields?.error)).toMatch(/the stored record of version \w{52} is damaged/);
    },
  );

  it.each(['get test/spoilt', 'log test/spoilt', 'heads test/spoilt'])(
    'is one line and exit code 1 on the command line: %s',
    async (command) => {
      const env = { ANABRANCH_URL: http.server.url, ANABRANCH_TOKEN: token };
      expect(await runInProcess(command.split(' '), { env })).toEqual({
        exitCode: 1,
        stdout: '',
        stderr: `anabranch: ${said.replace(/\.$/, '')} (damaged)\n`,
      });
    },
  );

  it.each([
    ['a write that names no parents', 'PUT', '/v1/objects/test/spoilt'],
    ['one that names it', 'PUT', '/v1/objects/test/spoilt?parents=SPOILT'],
    ['a merge with it', 'PUT', '/v1/objects/test/spoilt?parents=BASE,SPOILT'],
    ['a delete', 'DELETE', '/v1/objects/test/spoilt'],
  ])('cannot be superseded by %s, which stores nothing and says why and what to do', async (_name, method, path) => {
    const named = path.replace('SPOILT', spoilt).replace('BASE', base);
    const before = await mesh.get('alice').node.status();
    const answer = await http.ask(method, named, method === 'PUT' ? { body: 'new' } : {});
    expect([answer.status, answer.json.code, answer.json.version]).toEqual([503, 'damaged', spoilt]);
    expect(answer.json.detail).toContain(`version ${spoilt} of test/spoilt, which this would supersede, has a damaged`);
    expect(answer.json.detail).toContain('nothing was stored');
    expect(await mesh.get('alice').node.status()).toMatchObject({ versions: before.versions });
  });

  it('leaves room for a branch beside it, which is read', async () => {
    const written = await meanwhile(http.ask('PUT', `/v1/objects/test/spoilt?parents=${base}`, { body: 'branch' }));
    expect([written.status, written.json.conflict, written.json.heads]).toEqual([
      201,
      true,
      [spoilt, String(written.json.version)].sort(),
    ]);
    const read = await http.ask('GET', `/v1/objects/test/spoilt?version=${written.json.version}`);
    expect([read.status, read.text]).toEqual([200, 'branch']);
  });

  it('is one line and exit code 1 when it is put over on the command line', async () => {
    const env = { ANABRANCH_URL: http.server.url, ANABRANCH_TOKEN: token };
    const run = (...args: readonly string[]) =>
      meanwhile(runInProcess(['put', 'test/spoilt', '-', ...args], { env, stdin: 'new' }));
    const { exitCode, stdout, stderr } = await run();
    expect([exitCode, stdout]).toEqual([1, '']);
    expect(stderr).toMatch(/^anabranch: version \w{52} of test\/spoilt, which .* makes a branch \(damaged\)\n$/);
    expect(await run('--parents', base)).toMatchObject({ exitCode: 0 });
  });

  it('is counted in the status once it was found, over restarts too, until it is mended', async () => {
    const records = async (): Promise<unknown> => (await http.ask('GET', '/v1/status')).json.records;
    await http.ask('GET', '/v1/objects/test/spoilt');
    expect(await records()).toEqual({ damaged: 1 });
    await http.server.close();
    await mesh.settle(100);
    await mesh.stopNode('alice');
    http = await HttpHarness.over((await mesh.startNode('alice')).node);
    expect(await records()).toEqual({ damaged: 1 });
    expect(mesh.get('alice').metrics.value('anabranch_records_damaged')).toBe(1);
    await http.server.close();
    await mesh.stopNode('alice');
    await spoil(mesh.get('alice'), spoilt);
    http = await HttpHarness.over((await mesh.startNode('alice')).node);
    expect(await records()).toEqual({ damaged: 0 });
  });

  it('keeps nobody from the others', async () => {
    expect((await http.ask('GET', '/v1/graphs/test/sound')).status).toBe(200);
  });
});
