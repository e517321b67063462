import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { HttpMesh, meshToken } from '../../support/http-mesh.ts';
import { runInProcess } from '../../support/run-cli.ts';

let mesh: HttpMesh;
beforeAll(async () => {
  mesh = await HttpMesh.start(1);
});
afterAll(() => mesh.stop());

function run(command: string, stdin = '') {
  const env = { ANABRANCH_URL: mesh.nodes[0]?.url ?? '', ANABRANCH_TOKEN: meshToken };
  return runInProcess(command.split(' '), { stdin, env });
}

describe('confirm', () => {
  it('says that a version is confirmed, and by whom', async () => {
    const first = JSON.parse((await run('put docs/plan - --json', 'one')).stdout).version;
    const plain = await run('confirm docs/plan');
    expect(plain).toMatchObject({ exitCode: 0, stderr: '' });
    expect(plain.stdout).toContain(`docs/plan: version ${first} is confirmed\n`);
    expect(plain.stdout).toContain('position 1, signed by 1 of the coordinators of epoch 1\n');
    const second = JSON.parse((await run('put docs/plan - --commit quorum --json', 'two')).stdout);
    expect(second.state).toBe('confirmed');
    const earlier = await run(`confirm docs/plan --version ${first.slice(0, 12)}`);
    expect(earlier.stdout).toContain(`version ${first} is confirmed through its descendant ${second.version}`);
    const json = JSON.parse((await run('confirm docs/plan --json')).stdout);
    expect(json).toMatchObject({ version: second.version, position: 2, certificate: { statement: { position: 2 } } });
  });

  it('fails with the API’s words for what is not there', async () => {
    expect(await run('confirm docs/none')).toMatchObject({ exitCode: 3, stdout: '' });
    expect((await run('status')).stdout).toMatch(/quorum +available \(1 of 1 coordinator of epoch 1 reachable\)/);
  });
});
