/**
 * Two nodes write the same object while they cannot reach each other. Nothing is lost: both branches meet when
 * they can, the conflict is shown, and a merge ends it.
 * Run it with `npm run example -- offline-branches`.
 */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type MeshNode, type ObjectGraph, type Outcome, openNode, PinoLog, prepareSwarm } from '../src/index.ts';

const plan = { ns: 'team', key: 'plan.md' };
const dir = await mkdtemp(join(tmpdir(), 'anabranch-offline-'));
try {
  const { nodes } = await prepareSwarm(dir, { nodes: 2 });
  const log = new PinoLog({ level: 'error' });
  const [ship, office] = await Promise.all(nodes.map((node) => openNode(node.dir, { log })));
  assert(ship && office);

  await write(office.node, 'office', 'Sail on Monday.');
  await until('the ship has the plan', () => graphOf(ship.node)?.versions.length === 1);

  console.log('the ship leaves the harbour: no connection');
  await ship.network.setCut(new Set([office.directory.peerId]));
  await until('the office sees the ship gone', () => office.network.connectedPeers().length === 0);
  await write(ship.node, 'ship', 'Storm ahead: wait until Tuesday.');
  await write(office.node, 'office', 'Take the northern route.');

  console.log('the ship is back in reach');
  await ship.network.setCut(new Set());
  await until('both branches are on both nodes', () =>
    [ship, office].every(({ node }) => graphOf(node)?.heads.length === 2),
  );
  assert.deepEqual(graphOf(ship.node), graphOf(office.node));
  for (const head of graphOf(office.node)?.heads ?? []) {
    console.log(`  branch ${head.slice(0, 8)}: ${await read(office.node, head)}`);
  }

  const heads = graphOf(office.node)?.heads ?? [];
  await write(office.node, 'office', 'Wait until Tuesday, then take the northern route.', heads);
  await until('the ship has the merge', () => graphOf(ship.node)?.heads.length === 1);
  console.log(`merged: ${await read(ship.node)}`);
  await Promise.all([ship.close(), office.close()]);
} finally {
  await rm(dir, { recursive: true, force: true });
}

async function write(node: MeshNode, who: string, text: string, parents?: readonly string[]): Promise<void> {
  const input = { ...plan, body: [Buffer.from(text)], type: 'text/markdown', author: 'admin' };
  must(await node.put(parents === undefined ? input : { ...input, parents }));
  console.log(`the ${who} writes: ${text}`);
}

async function read(node: MeshNode, version?: string): Promise<string> {
  const found = must(node.read(version === undefined ? plan : { ...plan, version }));
  const parts: Uint8Array[] = [];
  for await (const part of must(await found.open())) parts.push(part);
  return Buffer.concat(parts).toString('utf8');
}

function graphOf(node: MeshNode): ObjectGraph | undefined {
  const graph = node.graph(plan);
  return graph.ok ? graph.value : undefined;
}

async function until(what: string, holds: () => boolean): Promise<void> {
  for (let waitedMs = 0; !holds(); waitedMs += 20) {
    if (waitedMs > 30_000) throw new Error(`waited 30 s in vain: ${what}`);
    await sleep(20);
  }
}

function must<T>(outcome: Outcome<T>): T {
  if (outcome.ok) return outcome.value;
  throw new Error(`${outcome.error.code}: ${outcome.error.message}`);
}
