import type { VersionId } from '../../crdt/ids.ts';
import type { Clock } from '../../src/ports/clock.ts';
import type { Channel } from '../wire/channel.ts';
import { encodeSyncMessage, recordsMessageBytes } from './messages.ts';

/** Records sent in answer to one request, so that one peer's catch-up is cut into turns. */
const recordsPerAnswerMax = 4_096;

/** What of a version is sent. */
export interface RecordSource {
  /** A record's text. */
  recordText(version: VersionId): Uint8Array | undefined;
  /** The content of a version, when it is here and has at most so many bytes. */
  smallContent(version: VersionId, bytesMax: number): Uint8Array | undefined;
}

/** Sends the records of one answer, many in a message. */
export class RecordSender {
  readonly #channel: Channel;
  readonly #source: RecordSource;
  readonly #clock: Clock;
  readonly #along: number;
  #texts: Uint8Array[] = [];
  #contents: Uint8Array[] = [];
  #bytes = 0;
  #sent = 0;

  /** `along`: contents of at most so many bytes go with their records; 0 for none. */
  constructor(
    channel: Channel,
    source: RecordSource,
    { clock, along = 0 }: { readonly clock: Clock; readonly along?: number | undefined },
  ) {
    this.#channel = channel;
    this.#source = source;
    this.#clock = clock;
    this.#along = along;
  }

  /** Resolves with false when the answer was full before it had all of them. Those that are not here are passed over. */
  async send(versions: Iterable<VersionId>): Promise<boolean> {
    for (const version of versions) {
      if (this.#sent === recordsPerAnswerMax) return false;
      this.#add(version);
      if (this.#bytes < recordsMessageBytes) continue;
      await this.flush();
      // While there is credit a send resolves in the same turn: reads and writes of others get theirs in between.
      await this.#clock.sleep(0);
    }
    return true;
  }

  /** Sends what is not on its way yet. */
  async flush(): Promise<void> {
    if (this.#texts.length === 0) return;
    const contents = this.#contents.length === 0 ? {} : { contents: this.#contents };
    const message = encodeSyncMessage({ t: 'records', texts: this.#texts, ...contents });
    this.#texts = [];
    this.#contents = [];
    this.#bytes = 0;
    await this.#channel.send(message);
  }

  #add(version: VersionId): void {
    const text = this.#source.recordText(version);
    if (text === undefined) return;
    this.#texts.push(text);
    this.#bytes += text.length;
    this.#sent += 1;
    const content = this.#along > 0 ? this.#source.smallContent(version, this.#along) : undefined;
    if (content === undefined) return;
    this.#contents.push(content);
    this.#bytes += content.length;
  }
}
