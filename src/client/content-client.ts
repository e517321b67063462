import type { ContentScrub, GivenUpInput, GivenUpPage } from '../node/api.ts';
import type { Transport } from './transport.ts';

/** The calls about the content of the node itself. Every one rejects with `ApiError`. */
export class ContentClient {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** A page of what the node gave up getting. */
  async dead({ after, limit }: GivenUpInput = {}): Promise<GivenUpPage> {
    const query = { after, limit: limit?.toString() };
    return (await this.#transport.json({ method: 'GET', path: '/v1/content/dead', query })) as GivenUpPage;
  }

  /** Has it try one of them again, or all; resolves with their number. */
  async retry(hash?: string): Promise<number> {
    const call = { method: 'POST', path: '/v1/content/dead/retry', query: { hash } } as const;
    return ((await this.#transport.json(call)) as { readonly retried: number }).retried;
  }

  async scrubStatus(): Promise<ContentScrub> {
    return (await this.#transport.json({ method: 'GET', path: '/v1/content/scrub' })) as ContentScrub;
  }

  /** @param waitSeconds how long to wait for its end, 30 at most */
  async scrub(waitSeconds = 0): Promise<ContentScrub> {
    const query = { wait: waitSeconds.toString() };
    return (await this.#transport.json({ method: 'POST', path: '/v1/content/scrub', query })) as ContentScrub;
  }
}
