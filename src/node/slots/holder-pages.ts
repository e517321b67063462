import type { NodeId, PeerId } from '../../../crdt/ids.ts';
import type { SlotSet } from '../../../crdt/slot-set.ts';
import { MetadataClient } from '../../../protocols/metadata/client.ts';
import { metadataProtocol } from '../../../protocols/metadata/messages.ts';
import { Channel } from '../../../protocols/wire/channel.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Network } from '../../ports/network.ts';
import type { MergePage, MergeSource } from './page-merge.ts';

/** A holder that cannot be asked, or does not have what it was asked for. */
export class HolderFailed extends Error {
  readonly node: NodeId;

  constructor(node: NodeId, cause?: unknown) {
    super('a holder did not answer, or does not have the slots whole', { cause });
    this.node = node;
  }
}

/** Asks a holder for a page; undefined when it does not have the slots whole. */
export type AskPage<Entry> = (
  client: MetadataClient,
  slots: Uint8Array,
  after: string | undefined,
) => Promise<MergePage<Entry> | undefined>;

interface Options<Entry> {
  readonly node: NodeId;
  readonly peer: PeerId;
  readonly slots: SlotSet;
  readonly ask: AskPage<Entry>;
  readonly signal: AbortSignal;
}

/** What one holder has of a listing, asked for over one stream. */
export class HolderPages<Entry> implements MergeSource<Entry> {
  readonly #network: Network;
  readonly #clock: Clock;
  readonly #options: Options<Entry>;
  #channel: Channel | undefined;

  constructor(dependencies: { readonly network: Network; readonly clock: Clock }, options: Options<Entry>) {
    this.#network = dependencies.network;
    this.#clock = dependencies.clock;
    this.#options = options;
  }

  /** Rejects with `HolderFailed`. */
  async page(after: string | undefined): Promise<MergePage<Entry>> {
    const { node, slots, ask } = this.#options;
    const page = await this.#open()
      .then((channel) => ask(new MetadataClient(channel), slots.encode(), after))
      .catch((error: unknown) => {
        throw new HolderFailed(node, error);
      });
    if (page === undefined) throw new HolderFailed(node);
    return page;
  }

  /** Drops the stream: nothing more is asked. */
  close(): void {
    this.#channel?.reset(new Error('the listing has ended'));
  }

  async #open(): Promise<Channel> {
    const { peer, signal } = this.#options;
    if (this.#channel !== undefined) return this.#channel;
    const stream = await this.#network.open(peer, metadataProtocol, signal);
    this.#channel = new Channel(stream, { clock: this.#clock }, { signal });
    return this.#channel;
  }
}
