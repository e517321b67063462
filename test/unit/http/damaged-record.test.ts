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

/** A node that has nobody to ask, and on whose disk a record rotted while it was down. */
beforeEach(async () => {
  mesh = await Mesh.start(['alice']);
  const { version } = await mesh.put('alice', 'spoilt', 'text');
  await mesh.put('alice', 'sound', 'text');
  await mesh.stopNode('alice');
  await spoil(mesh.get('alice'), version);
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

  it('keeps nobody from the others', async () => {
    expect((await http.ask('GET', '/v1/graphs/test/sound')).status).toBe(200);
  });
});
