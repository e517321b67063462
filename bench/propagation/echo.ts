import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';

/** A process that sends back whatever it is sent, and ends with its parent. */
const server = createServer((socket) => {
  socket.setNoDelay(true);
  socket.pipe(socket);
  socket.on('error', () => socket.destroy());
});
server.listen(0, '127.0.0.1', () => process.send?.((server.address() as AddressInfo).port));
process.on('disconnect', () => process.exit());
