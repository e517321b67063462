import { describe, expect, it } from 'vitest';
import { CommandFailure, failureOf, Interrupted, UsageError } from '../../../src/cli/errors.ts';
import { ApiError, clientError } from '../../../src/client/api-error.ts';
import { MeshError } from '../../../src/ports/mesh-error.ts';

const system = (code: string, path?: string) => Object.assign(new Error(`${code}: raw`), { code, path });

describe('the exit code', () => {
  it.each([
    ['wrong usage', new UsageError('no'), 2],
    ['a failure', new CommandFailure('no'), 1],
    ['a failure that says so', new CommandFailure('no', 4), 4],
    ['an interruption', new Interrupted('SIGINT'), 1],
    ['no such object', new ApiError('not_found', 'no', { status: 404 }), 3],
    ['a deleted object', new ApiError('deleted', 'no', { status: 404 }), 3],
    ['a name that the API refuses', new ApiError('invalid_key', 'no', { status: 400 }), 2],
    ['a conflict', new ApiError('too_many_heads', 'no', { status: 409 }), 1],
    ['a node that is not there', clientError('unreachable', 'no'), 4],
    ['a node that went away', clientError('connection_lost', 'no'), 4],
    ['damaged content', clientError('content_mismatch', 'no'), 1],
    ['a wrong directory', new MeshError('invalid_config', 'no'), 2],
    ['a node that runs already', new MeshError('wrong_state', 'no'), 1],
    ['a directory in use', new MeshError('directory_in_use', 'no'), 1],
    ['a full disk', system('ENOSPC', '/x'), 1],
    ['a bug', new TypeError('no'), 1],
    ['something thrown', 'no', 1],
  ])('of %s is right', (_what, error, exitCode) => {
    expect(failureOf(error).exitCode).toBe(exitCode);
  });
});

describe('the message', () => {
  it('names the code of the API and what would help', () => {
    expect(failureOf(new ApiError('unauthorized', 'The token is wrong.', { status: 401 })).message).toMatch(
      /^The token is wrong \(unauthorized\); give the token with --dir/,
    );
  });

  it('puts system errors in words, with the file', () => {
    expect(failureOf(system('ENOENT', '/no/file')).message).toBe('/no/file: no such file or directory');
    expect(failureOf(system('ENOSPC')).message).toBe('the disk is full');
    expect(failureOf(system('EWEIRD')).message).toBe('EWEIRD: raw');
  });

  it('is silent when nobody reads any more', () => {
    expect(failureOf(system('EPIPE')).message).toBeUndefined();
  });
});
