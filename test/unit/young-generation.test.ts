import { expect, it } from 'vitest';
import { boundedCommand, type Started, youngGenerationFlags } from '../../src/young-generation.ts';

const started: Started = {
  argv: ['/bin/node', '/app/main.js', 'serve', '--dir', 'n1'],
  execArgv: ['--enable-source-maps'],
  execPath: '/bin/node',
  env: {},
  platform: 'linux',
};

it('starts the same program with a bound, and what else it was started with', () => {
  expect(boundedCommand(started)).toEqual([
    '/bin/node',
    ...youngGenerationFlags,
    '--enable-source-maps',
    '/app/main.js',
    'serve',
    '--dir',
    'n1',
  ]);
});

it.each([
  ['the bound is there', { execArgv: [...youngGenerationFlags] }],
  ['it has another', { execArgv: ['--max_semi_space_size=64'] }],
  ['it has another from the environment', { env: { NODE_OPTIONS: '--trace-warnings --max-semi-space-size=8' } }],
  ['the platform cannot replace a process', { platform: 'win32' as const }],
  ['a channel would be lost', { send: () => true }],
])('leaves it as it is where %s', (_, differing) => {
  expect(boundedCommand({ ...started, ...differing })).toBeUndefined();
});
