import { resolve } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { Command, InvalidArgumentError, Option } from 'commander';
import { z } from 'zod';
import type { PeerId } from '../../crdt/ids.ts';
import { byteRateForm, parseByteRate } from '../byte-rate.ts';
import type { openNode, RunningNode } from '../index.ts';
import { MeshError } from '../ports/mesh-error.ts';
import { type ControlServer, serveControlSocket } from '../swarm/control-socket.ts';
import type { Cli } from './cli.ts';
import { duration } from './duration.ts';
import { Interrupted, UsageError } from './errors.ts';
import { parseSize, sizeForm } from './size.ts';

type RunningSettings = Required<Parameters<typeof openNode>[1]>;

const logLevels = ['debug', 'info', 'warn', 'error', 'silent'] as const;
/**
 * Whatever a library or a failed stop has left open must not keep a stopped node's process alive: libp2p leaves a timer of 1 s
 * each time. By then all is flushed and closed; this is for the last words alone.
 */
const lingerMsMax = 250;
const peersMax = 1_024;

interface ServeFlags {
  readonly dir?: string;
  readonly logLevel: (typeof logLevels)[number];
  readonly maxUpload?: number;
  readonly maxDownload?: number;
  readonly capacity?: number;
  readonly repairDelay?: number;
  readonly auditEvery?: number;
  readonly heartbeatEvery?: number;
  readonly devControl?: boolean;
  readonly json?: boolean;
}

export function serveCommand(cli: Cli): Command {
  return new Command('serve')
    .description('run the node of a directory until Ctrl-C or SIGTERM')
    .option('--dir <dir>', 'the node directory (or ANABRANCH_DIR)')
    .addOption(new Option('--log-level <level>', 'the least that is logged').choices(logLevels).default('info'))
    .option('--max-upload <rate>', 'content sent to peers, a second at most: 512KiB, 10MiB, …', byteRate)
    .option('--max-download <rate>', 'content taken from peers, a second at most', byteRate)
    .option('--capacity <size>', 'the most it is to hold, such as 500GB or 2TiB; what its disk has when absent', size)
    .option('--repair-delay <duration>', 'how long a node may be away before others stand in for it (10min)', duration)
    .option('--heartbeat-every <duration>', 'between two heartbeats (5s): offline is who misses twelve', duration)
    .option('--audit-every <duration>', 'mean time between two audits of replication (1h)', duration)
    .addOption(new Option('--dev-control', 'for development: a socket that can cut this node off').hideHelp())
    .option('--json', 'tell that the node is up as JSON')
    .action((flags: ServeFlags) => serve(cli, flags));
}

function byteRate(text: string): number {
  const rate = parseByteRate(text);
  if (rate === undefined) throw new InvalidArgumentError(`A rate is ${byteRateForm}.`);
  return rate;
}

function size(text: string): number {
  const bytes = parseSize(text);
  if (bytes === undefined) throw new InvalidArgumentError(`A size is ${sizeForm}.`);
  return bytes;
}

/** A node is suspect after three heartbeats that did not come, and offline after twelve. */
function paceOf(everyMs: number): RunningSettings['membership'] {
  return { heartbeatIntervalMs: everyMs, suspectAfterMs: 3 * everyMs, offlineAfterMs: 12 * everyMs };
}

async function serve(cli: Cli, flags: ServeFlags): Promise<void> {
  const dir = flags.dir ?? cli.io.env.ANABRANCH_DIR ?? '';
  if (dir === '') throw new UsageError('say which node: serve --dir DIR (npm run swarm makes node directories)');
  const stop = flags.devControl === true ? supervisorSignal(cli) : cli.interrupts();
  tuneCollector();
  // Only this command needs the node and all its libraries.
  const { openNode, PinoLog } = await import('../index.ts');
  const { createHttpServer } = await import('../http/server.ts');
  const log = new PinoLog({ level: flags.logLevel });
  const running = await openNode(resolve(cli.io.cwd, dir), {
    log,
    content: {
      ...(flags.maxUpload === undefined ? {} : { uploadBytesPerSecond: flags.maxUpload }),
      ...(flags.maxDownload === undefined ? {} : { downloadBytesPerSecond: flags.maxDownload }),
    },
    membership: {
      ...(flags.capacity === undefined ? {} : { capacityBytes: flags.capacity }),
      ...(flags.heartbeatEvery === undefined ? {} : paceOf(flags.heartbeatEvery)),
    },
    replication: {
      ...(flags.repairDelay === undefined ? {} : { repairDelayMs: flags.repairDelay }),
      ...(flags.auditEvery === undefined ? {} : { auditEveryMs: flags.auditEvery }),
    },
  });
  const closers: (() => Promise<void>)[] = [() => running.close()];
  try {
    const { node, directory, network, clock, metrics } = running;
    if (flags.devControl === true) {
      const control = await openControl(directory.paths.controlSocket, directory.name, network);
      // The socket goes last: whoever finds it gone finds the directory free as well.
      closers.unshift(() => control.close());
    }
    const http = await createHttpServer(
      { node, token: directory.token, metricsText: () => metrics.text(), log, clock, metrics },
      directory.http,
    );
    closers.push(() => http.close());
    if (flags.json === true) await cli.output.json({ name: directory.name, url: http.url, pid: process.pid });
    else await cli.output.print(`${directory.name} serves at ${http.url}; Ctrl-C stops it`);
    await aborted(stop);
    log.info('serve:stopping', { reason: stop.reason instanceof Error ? stop.reason.message : String(stop.reason) });
  } finally {
    await closeAll(closers);
  }
}

/** Closes all of it, the last one first, whichever of them fails: what stays open would keep the process. */
async function closeAll(closers: readonly (() => Promise<void>)[]): Promise<void> {
  const failures: unknown[] = [];
  for (const close of closers.toReversed()) await close().catch((error: unknown) => failures.push(error));
  setTimeout(() => process.exit(), lingerMsMax).unref();
  if (failures.length > 0) throw failures[0];
}

/** Ctrl-C at a terminal, or closing it, reaches the supervisor too, which then says when to stop; and when it is gone, so is the reason to run. */
function supervisorSignal(cli: Cli): AbortSignal {
  const orphaned = new AbortController();
  const signals: NodeJS.Signals[] = ['SIGTERM'];
  if (process.send === undefined) {
    signals.push('SIGINT', 'SIGHUP');
  } else {
    for (const signal of ['SIGINT', 'SIGHUP'] as const) process.on(signal, () => undefined);
    process.once('disconnect', () => orphaned.abort(new Interrupted('the end of its supervisor')));
    process.channel?.unref();
  }
  return AbortSignal.any([cli.io.interrupts(signals), orphaned.signal]);
}

/**
 * How V8 is to spend memory in a node. Without the first it collects the whole heap for every 50 MB of buffers that pass
 * through, which takes a third of the processor while content moves: measured, 38 collections for 512 MiB received, and
 * 5 with it. Without the second it lets the old generation grow to a multiple of what is alive before it looks; and what it
 * takes to be alive includes buffers that came while it looked, so more than a half on top can be much.
 */
function tuneCollector(): void {
  setFlagsFromString('--external-memory-accounted-in-global-limit');
  setFlagsFromString('--heap-growing-percent=50');
}

const controlCommand = z.discriminatedUnion('command', [
  z.object({ command: z.literal('cut'), peers: z.array(z.string().min(1).max(128)).max(peersMax) }),
  z.object({ command: z.literal('heal') }),
  z.object({ command: z.literal('status') }),
]);

function openControl(path: string, name: string, network: RunningNode['network']): Promise<ControlServer> {
  let cut: readonly string[] = [];
  return serveControlSocket(path, async (request) => {
    const parsed = controlCommand.safeParse(request);
    if (!parsed.success) throw new MeshError('invalid_config', 'the commands are cut (with peers), heal and status');
    const command = parsed.data;
    if (command.command !== 'status') {
      cut = command.command === 'cut' ? command.peers : [];
      await network.setCut(new Set(cut as readonly PeerId[]));
    }
    return { name, pid: process.pid, cut, connected: network.connectedPeers() };
  });
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
