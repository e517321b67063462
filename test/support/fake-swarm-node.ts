import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { serveControlSocket } from '../../src/swarm/control-socket.ts';

/** Stands for `serve` in tests of the supervisor: `node fake-swarm-node.ts DIR`. A file `behaviour` in DIR changes it. */
const dir = process.argv[2] ?? '';
const { nodeId, http } = JSON.parse(await readFile(join(dir, 'node.json'), 'utf8'));
const behaviour = await readFile(join(dir, 'behaviour'), 'utf8').catch(() => '');

if (behaviour === 'fails') {
  console.error('the disk is on fire');
  process.exit(3);
}
const asked: unknown[] = [];
await serveControlSocket(join(dir, 'control.sock'), async (request) => {
  asked.push(request);
  return asked;
});
createServer((_request, response) => {
  response.end(JSON.stringify({ nodeId: behaviour === 'stranger' ? 'another' : nodeId, ready: behaviour !== 'slow' }));
}).listen(http.port, http.host);
process.on('SIGTERM', () => process.exit(0));
process.on('disconnect', () => process.exit(0));
