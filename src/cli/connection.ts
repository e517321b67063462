import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import { AnabranchClient } from '../client/http-client.ts';
import { CommandFailure, exitCodes, UsageError } from './errors.ts';
import type { CliIo, Output } from './output.ts';

const urlDefault = 'http://127.0.0.1:7400';
/** Where `npm run swarm` puts its swarm. */
export const swarmDirectoryDefault = '.swarm';

export interface ConnectionOptions {
  readonly url?: string;
  readonly token?: string;
  readonly dir?: string;
}

/** Adds the options that say which node to talk to, and `--json`. */
export function withConnection(command: Command): Command {
  return command
    .option('--url <url>', `the node's URL (or ANABRANCH_URL; default ${urlDefault})`)
    .option('--token <token>', 'the API token (or ANABRANCH_TOKEN)')
    .option('--dir <dir>', 'directory of a node, or of a running swarm, to take URL and token from (or ANABRANCH_DIR)')
    .option('--json', "print the API's answer as JSON");
}

/** One place that answers, and the token it takes. */
interface Access {
  readonly url: string;
  readonly readToken: () => Promise<string>;
}

/**
 * Which node a command talks to: what its options say, then the environment, then a swarm in the current
 * folder. A token from a directory goes only to the URL of that directory.
 */
export async function connect(options: ConnectionOptions, io: CliIo, output: Output): Promise<AnabranchClient> {
  const environment = options.dir === undefined ? io.env : {};
  const url = options.url ?? (environment.ANABRANCH_URL || undefined);
  const token = options.token ?? (environment.ANABRANCH_TOKEN || undefined);
  if (url !== undefined && token !== undefined) return new AnabranchClient({ url, token });
  const dir = options.dir ?? (io.env.ANABRANCH_DIR || undefined);
  const places = dir === undefined ? await placesOfDefaultSwarm(io) : await placesOf(resolve(io.cwd, dir));
  const place = url === undefined ? places[0] : places.find((candidate) => sameUrl(candidate.url, url));
  if (dir === undefined && url === undefined && place !== undefined) {
    output.note(`talking to ${place.url} of the swarm in ${swarmDirectoryDefault}`);
  }
  return new AnabranchClient({ url: url ?? place?.url ?? urlDefault, token: token ?? (await place?.readToken()) });
}

async function placesOf(dir: string): Promise<Access[]> {
  if (existsSync(join(dir, 'node.json'))) {
    const { readNodeAccess } = await import('../node-directory.ts');
    const { url, token } = await readNodeAccess(dir);
    return [{ url, readToken: async () => token }];
  }
  const places = await placesOfSwarm(dir);
  if (places !== undefined) return places;
  if (existsSync(join(dir, 'peers.json'))) {
    throw new CommandFailure(
      `the swarm in ${dir} is not running; start it with: npm run swarm -- --dir ${dir}`,
      exitCodes.unreachable,
    );
  }
  throw new UsageError(`${dir} is neither the directory of a node (node.json) nor of a running swarm (swarm.json)`);
}

async function placesOfDefaultSwarm(io: CliIo): Promise<Access[]> {
  return (await placesOfSwarm(join(io.cwd, swarmDirectoryDefault))) ?? [];
}

async function placesOfSwarm(dir: string): Promise<Access[] | undefined> {
  if (!existsSync(join(dir, 'swarm.json'))) return undefined;
  const { readSwarmState } = await import('../swarm/swarm-state.ts');
  const state = await readSwarmState(dir);
  const { readToken } = await import('../node-directory.ts');
  return state?.nodes
    .toSorted((a, b) => Number(a.pid === null) - Number(b.pid === null))
    .map(({ url, tokenFile }) => ({ url, readToken: () => readToken(tokenFile) }));
}

function sameUrl(a: string, b: string): boolean {
  return URL.parse(a)?.origin === URL.parse(b)?.origin;
}
