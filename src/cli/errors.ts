import { CommanderError } from 'commander';
import { ApiError } from '../client/api-error.ts';
import { MeshError } from '../ports/mesh-error.ts';
import { counted } from './counted.ts';

/** What the command's caller learns without reading its output. */
export const exitCodes = { ok: 0, failed: 1, usage: 2, notFound: 3, unreachable: 4 } as const;
export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

/** The command was given wrongly; the message says what and how it goes. */
export class UsageError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'UsageError';
  }
}

/** The command was right, and could not be carried out. */
export class CommandFailure extends Error {
  readonly exitCode: ExitCode;

  constructor(message: string, exitCode: ExitCode = exitCodes.failed) {
    super(message);
    this.name = 'CommandFailure';
    this.exitCode = exitCode;
  }
}

/** A signal asked this process to end. */
export class Interrupted extends Error {
  constructor(signal: string) {
    super(`interrupted by ${signal}`);
    this.name = 'Interrupted';
  }
}

export interface Failure {
  readonly exitCode: ExitCode;
  /** Undefined when all has been said already, or nobody listens any more. */
  readonly message: string | undefined;
  /** The API's own problem document, for `--json`. */
  readonly problem?: Readonly<Record<string, unknown>> | undefined;
}

const invalidInputCodes = new Set(['invalid_key', 'invalid_namespace', 'invalid_version', 'invalid_request']);
const unreachableCodes = new Set(['unreachable', 'connection_lost', 'timeout', 'peer_unreachable']);

/** What to say about an error, and which exit code it is. */
export function failureOf(error: unknown): Failure {
  if (error instanceof CommanderError) {
    // Commander has written its message, or the help that was asked for.
    return { exitCode: error.exitCode === 0 ? exitCodes.ok : exitCodes.usage, message: undefined };
  }
  if (error instanceof UsageError) return { exitCode: exitCodes.usage, message: error.message };
  if (error instanceof CommandFailure) return { exitCode: error.exitCode, message: error.message };
  if (error instanceof Interrupted) return { exitCode: exitCodes.failed, message: error.message };
  if (error instanceof ApiError) return apiFailure(error);
  if (error instanceof MeshError) return { exitCode: meshExitCode(error), message: error.message };
  return systemFailure(error);
}

function apiFailure(error: ApiError): Failure {
  const hint = apiHints[error.code]?.(error) ?? '';
  const message = `${error.message.replace(/\.$/, '')} (${error.code})${hint}`;
  return { exitCode: apiExitCode(error), message, problem: error.problem };
}

function apiExitCode({ code, status }: ApiError): ExitCode {
  if (status === 404) return exitCodes.notFound;
  if (unreachableCodes.has(code)) return exitCodes.unreachable;
  return invalidInputCodes.has(code) ? exitCodes.usage : exitCodes.failed;
}

/** What the API cannot know: how this command line would do better. */
const apiHints: Readonly<Record<string, (error: ApiError) => string>> = {
  unreachable: () => '; start one with "npm run swarm", or say where it is with --url or --dir',
  unauthorized: () => '; give the token with --dir DIR (the directory of the node or swarm) or ANABRANCH_TOKEN',
  deleted: () => '; "log" shows its versions, and --version reads one',
  content_unavailable: () => '; "doctor" tells what this node has of it, and what to do',
  content_mismatch: () => '; nothing was kept, try again',
  carry_over_running: ({ problem }) => {
    const progress = problem?.progress as { readonly done: number; readonly total: number } | undefined;
    const share =
      progress === undefined
        ? ''
        : `${progress.done} of ${counted(progress.total, 'register is', 'registers are')} there; `;
    return `; ${share}--wait does it as soon as it can be done`;
  },
};

function meshExitCode({ code }: MeshError): ExitCode {
  if (unreachableCodes.has(code)) return exitCodes.unreachable;
  return code === 'invalid_config' ? exitCodes.usage : exitCodes.failed;
}

function systemFailure(error: unknown): Failure {
  if (!(error instanceof Error)) return { exitCode: exitCodes.failed, message: String(error) };
  const { code, path } = error as NodeJS.ErrnoException;
  if (code === 'EPIPE') return { exitCode: exitCodes.failed, message: undefined };
  const words = code === undefined ? undefined : systemWords[code];
  if (words === undefined) return { exitCode: exitCodes.failed, message: error.message || error.name };
  return { exitCode: exitCodes.failed, message: path === undefined ? words : `${path}: ${words}` };
}

const systemWords: Readonly<Record<string, string>> = {
  EACCES: 'permission denied',
  EISDIR: 'this is a directory, not a file',
  ENOENT: 'no such file or directory',
  ENOSPC: 'the disk is full',
  ENOTDIR: 'a part of this path is not a directory',
  EROFS: 'the file system is read-only',
};
