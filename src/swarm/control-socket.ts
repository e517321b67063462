import { chmod, rm } from 'node:fs/promises';
import type { Server, Socket } from 'node:net';
import { createConnection, createServer } from 'node:net';
import { relative } from 'node:path';
import { MeshError } from '../ports/mesh-error.ts';

/**
 * A Unix socket for commands on one machine: one JSON value a line in, one a line out. Only its owner may
 * open it. It exists for development swarms; a normal node listens on nothing of the kind.
 */

/** A cut that names 1,000 peers has about 60 KiB. */
const lineBytesMax = 128 * 1024;
const connectionsMax = 8;
const idleMsMax = 60_000;
/** The kernel's `sun_path` less its ending NUL, taken from macOS, which has less room than Linux. */
const socketPathBytesMax = 103;
/** Whoever left a socket file behind answers at once, or is gone. */
const probeMsMax = 1_000;

/** Why a command that is right was not carried out. */
const refusalCodes = ['io_error', 'shutting_down', 'wrong_state'] as const;

export type ControlHandler = (request: unknown) => Promise<unknown>;

export interface ControlServer {
  close(): Promise<void>;
}

/** Rejects with `MeshError`: `directory_in_use` when somebody answers at `path` already, `invalid_config`, `io_error`. */
export async function serveControlSocket(path: string, handle: ControlHandler): Promise<ControlServer> {
  if (await isAnswering(path)) {
    throw new MeshError('directory_in_use', `${path} is served by a running process already`);
  }
  await rm(path, { force: true });
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    serveConnection(socket, handle);
  });
  server.maxConnections = connectionsMax;
  await listen(server, path);
  await chmod(path, 0o600);
  return {
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}

/**
 * Sends one command and resolves with its result. Rejects with `MeshError`: `peer_unreachable` when nobody
 * listens, `timeout`, or with the other side's own message when it refuses: one of `refusalCodes`, else `invalid_config`.
 */
export async function callControlSocket(path: string, request: unknown, timeoutMs: number): Promise<unknown> {
  const line = await exchangeLine(path, `${JSON.stringify(request)}\n`, timeoutMs);
  const answer = parseObject(line);
  if (answer?.ok === true) return answer.result;
  const message = typeof answer?.error === 'string' ? answer.error : `${path} gave an answer that is not one`;
  throw new MeshError(refusalCodes.find((code) => code === answer?.code) ?? 'invalid_config', message);
}

/** True when a process listens at `path`. */
export async function isAnswering(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(socketPath(path));
    const settle = (answering: boolean) => () => {
      socket.destroy();
      resolve(answering);
    };
    socket.setTimeout(probeMsMax, settle(true));
    socket.once('connect', settle(true));
    socket.once('error', settle(false));
  });
}

function serveConnection(socket: Socket, handle: ControlHandler): void {
  let turn = Promise.resolve();
  let rest: Buffer = Buffer.alloc(0);
  socket.setTimeout(idleMsMax, () => socket.destroy());
  socket.on('error', () => socket.destroy());
  socket.on('data', (data: Buffer) => {
    rest = Buffer.concat([rest, data]);
    for (let end = rest.indexOf(0x0a); end !== -1; end = rest.indexOf(0x0a)) {
      const line = rest.subarray(0, end).toString('utf8');
      rest = rest.subarray(end + 1);
      // Reading pauses while a command runs, so that one connection queues no more than one read's worth.
      socket.pause();
      turn = turn.then(() => answerLine(socket, line, handle)).then(() => void socket.resume());
    }
    if (rest.length > lineBytesMax) socket.destroy();
  });
}

async function answerLine(socket: Socket, line: string, handle: ControlHandler): Promise<void> {
  let answer: unknown;
  try {
    const request = parseObject(line);
    if (request === undefined) throw new MeshError('invalid_config', 'a command is one JSON object a line');
    answer = { ok: true, result: (await handle(request)) ?? null };
  } catch (error) {
    const code = error instanceof MeshError ? error.code : undefined;
    answer = { ok: false, code, error: error instanceof Error ? error.message : String(error) };
  }
  if (!socket.destroyed) socket.write(`${JSON.stringify(answer)}\n`);
}

function exchangeLine(path: string, line: string, timeoutMs: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(socketPath(path), () => socket.write(line));
    const fail = (error: MeshError): void => {
      socket.destroy();
      reject(error);
    };
    let received = '';
    const timer = setTimeout(
      () => fail(new MeshError('timeout', `${path} gave no answer within ${timeoutMs / 1000} s`)),
      timeoutMs,
    );
    socket.setEncoding('utf8');
    socket.on('data', (text: string) => {
      received += text;
      const end = received.indexOf('\n');
      if (end !== -1) {
        resolve(received.slice(0, end));
        socket.end();
      } else if (received.length > lineBytesMax) {
        fail(new MeshError('protocol_violation', `${path} answered with more than ${lineBytesMax} bytes`));
      }
    });
    socket.on('error', (cause) => fail(new MeshError('peer_unreachable', `nobody listens at ${path}`, { cause })));
    socket.on('close', () => {
      clearTimeout(timer);
      reject(new MeshError('peer_unreachable', `${path} closed without an answer`));
    });
  });
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause) =>
      reject(new MeshError('io_error', `cannot listen at ${path}: ${cause.message}`, { cause })),
    );
    server.listen(socketPath(path), resolve);
  });
}

/** The kernel takes only short socket paths, so the shorter of the absolute and the relative one is used. */
function socketPath(path: string): string {
  const near = relative(process.cwd(), path);
  const shortest = Buffer.byteLength(near) < Buffer.byteLength(path) ? near : path;
  if (Buffer.byteLength(shortest) <= socketPathBytesMax) return shortest;
  throw new MeshError(
    'invalid_config',
    `${path} is too long for a socket (at most ${socketPathBytesMax} bytes); choose a directory with a shorter path`,
  );
}

function parseObject(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}
