import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { counted } from '../../../src/cli/counted.ts';
import { runInProcess } from '../../support/run-cli.ts';

let cwd: string;
beforeAll(async () => {
  cwd = await mkdtemp(join(tmpdir(), 'anabranch-advice-'));
});
afterAll(() => rm(cwd, { recursive: true }));

const anabranch = (command: string, env: Record<string, string> = {}) => runInProcess(command.split(' '), { cwd, env });

describe('a command that is advised', () => {
  it('can be typed as it stands, in a checkout and where the program is installed', async () => {
    const installed = await anabranch('init --dir installed --name one');
    expect(installed.stdout).toMatch(/\nstart it: anabranch serve --dir installed\n$/);
    const checkout = await anabranch('init --dir checkout --name one', { npm_lifecycle_event: 'anabranch' });
    expect(checkout.stdout).toMatch(/\nstart it: npm run -s anabranch -- serve --dir checkout\n$/);
    const admit = await anabranch('nodes admit --help', { npm_lifecycle_event: 'anabranch' });
    expect(admit.stdout.replace(/\s+/g, ' ')).toContain('"npm run -s anabranch -- init --join FILE --json"');
  });
});

describe('a node that joins', () => {
  const joining = (dir: string, more = '') => anabranch(`init --dir ${dir} --name ${dir} --join one/peers.json${more}`);
  beforeAll(async () => {
    await anabranch('init --dir one --name one');
  });

  it('is warned when no other machine can dial it', async () => {
    const { exitCode, stdout, stderr } = await joining('two', ' --json');
    const { addresses } = JSON.parse(stdout);
    expect(exitCode).toBe(0);
    expect(stderr).toBe(
      `the others reach two on this machine alone (${addresses[0]}): for nodes elsewhere, make it with ` +
        '--listen /ip4/0.0.0.0/tcp/PORT --address /ip4/ITS-ADDRESS/tcp/PORT\n',
    );
    // Every address of the machine is the address of nobody's.
    expect((await joining('three', ' --listen /ip4/0.0.0.0/tcp/7500')).stderr).toContain('(/ip4/0.0.0.0/tcp/7500)');
  });

  it('is not when it has an address of its own', async () => {
    const more = ' --listen /ip4/0.0.0.0/tcp/7500 --address /ip4/127.0.0.1/tcp/7500 /ip4/192.0.2.2/tcp/7500 --json';
    const { stdout, stderr } = await joining('four', more);
    expect(stderr).toBe('');
    expect(JSON.parse(stdout).addresses).toEqual(['/ip4/127.0.0.1/tcp/7500', '/ip4/192.0.2.2/tcp/7500']);
  });
});

describe('counted things', () => {
  it('are one or many', () => {
    expect([counted(1, 'object'), counted(0, 'object'), counted(2, 'copy', 'copies')]).toEqual([
      '1 object',
      '0 objects',
      '2 copies',
    ]);
  });
});
