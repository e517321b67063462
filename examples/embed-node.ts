/**
 * Embeds a node in a program: writes an object, reads it back, watches what happens, and stops.
 * Run it with `npm run example -- embed-node`.
 */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Outcome, openNode, PinoLog, prepareSwarm } from '../src/index.ts';

const dir = await mkdtemp(join(tmpdir(), 'anabranch-embed-'));
try {
  // One node makes a whole cluster; its directory is found again at the next start.
  const { nodes } = await prepareSwarm(dir, { nodes: 1 });
  const [prepared] = nodes;
  assert(prepared);
  const { node, close } = await openNode(prepared.dir, { log: new PinoLog({ level: 'warn' }) });

  const watching = new AbortController();
  const firstEvent = node.events({ signal: watching.signal })[Symbol.asyncIterator]().next();

  const written = must(
    await node.put({
      ns: 'notes',
      key: 'readme.txt',
      body: [Buffer.from('Hello from a program.\n')],
      type: 'text/plain',
      author: 'admin',
    }),
  );
  console.log(`wrote notes/readme.txt as version ${written.version}`);

  const found = must(node.read({ ns: 'notes', key: 'readme.txt' }));
  for await (const part of must(await found.open())) process.stdout.write(part);

  const event = (await firstEvent).value;
  console.log(`the node told of: ${event?.type}`);
  assert.equal(event?.type, 'version');

  watching.abort();
  await close();
  console.log('stopped, and everything is on disk');
} finally {
  await rm(dir, { recursive: true, force: true });
}

/** What a caller must expect is returned, not thrown: here nothing of it may happen. */
function must<T>(outcome: Outcome<T>): T {
  if (outcome.ok) return outcome.value;
  throw new Error(`${outcome.error.code}: ${outcome.error.message}`);
}
