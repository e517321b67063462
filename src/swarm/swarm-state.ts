import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { MeshError } from '../ports/mesh-error.ts';

/** `swarm.json`: what runs where. It exists while the swarm is up, and all its paths are absolute. */
const swarmStateSchema = z.object({
  nodes: z
    .array(
      z.object({
        name: z.string(),
        url: z.string(),
        tokenFile: z.string(),
        dir: z.string(),
        /** Null while the node does not run. */
        pid: z.int().nullable(),
        peerId: z.string(),
      }),
    )
    .min(1),
});

export type SwarmState = z.infer<typeof swarmStateSchema>;

export const swarmStateFile = (dir: string): string => join(dir, 'swarm.json');
export const supervisorSocket = (dir: string): string => join(dir, 'supervisor.sock');
export const peersFileOf = (dir: string): string => join(dir, 'peers.json');

/** The running swarm of a directory, or undefined when none is up. Rejects with `MeshError` `invalid_config`. */
export async function readSwarmState(dir: string): Promise<SwarmState | undefined> {
  const path = swarmStateFile(dir);
  try {
    return swarmStateSchema.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw new MeshError('invalid_config', `${path} cannot be understood; restart the swarm to have it written again`, {
      cause,
    });
  }
}

/** A reader sees the former state or this one, never half of it. */
export async function writeSwarmState(dir: string, state: SwarmState): Promise<void> {
  const draft = `${swarmStateFile(dir)}.new`;
  await writeFile(draft, `${JSON.stringify(state, null, 2)}\n`, { mode: 0o600, flush: true });
  await rename(draft, swarmStateFile(dir));
}

export async function removeSwarmState(dir: string): Promise<void> {
  await rm(swarmStateFile(dir), { force: true });
}
