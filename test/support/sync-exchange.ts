import type { PeerId } from '../../crdt/ids.ts';
import { type SyncSource, serveSync } from '../../protocols/sync/server.ts';
import { Channel } from '../../protocols/wire/channel.ts';
import { MemoryStream } from '../../src/adapters/memory/byte-stream.ts';
import { SystemClock } from '../../src/adapters/system/clock.ts';
import type { Clock } from '../../src/ports/clock.ts';

/** The two ends of a stream, on which bytes arrive in a later turn of the event loop. */
export function streamPair(): readonly [near: MemoryStream, far: MemoryStream] {
  const end = (name: string): MemoryStream =>
    new MemoryStream(name as PeerId, (_, arrive) => void setImmediate(arrive), {
      onClosed: () => undefined,
      splitAt: () => 0,
    });
  const [near, far] = [end('far'), end('near')];
  MemoryStream.join(near, far);
  return [near, far];
}

/** Opens an exchange with what serves a source; `served` settles as serving it does. */
export function syncExchange(
  source: SyncSource,
  clock: Clock = new SystemClock(),
): { readonly channel: Channel; readonly served: Promise<void> } {
  const [near, far] = streamPair();
  const served = serveSync(far, source, { clock, lacking: () => undefined });
  return { channel: new Channel(near, { clock: new SystemClock() }), served };
}
