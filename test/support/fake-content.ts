import * as examples from '../../src/http/content-examples.ts';
import type { ContentApi, ContentScrub, GivenUpInput, GivenUpPage, Outcome, Refusal } from '../../src/node/api.ts';

const as = <T>(example: unknown): T => example as T;

/** Content that answers as the examples of the API do, and remembers what it was asked. */
export class FakeContent implements ContentApi {
  readonly asked: unknown[] = [];
  /** What every call that can be refused ends in, when there is one. */
  refusal: Refusal | undefined;
  page: GivenUpPage = as(examples.givenUp);
  /** How the next looks at the scrub find it, before it is done. */
  readonly scrubs: ContentScrub[] = [];

  async deadLetters(input: GivenUpInput = {}): Promise<Outcome<GivenUpPage>> {
    this.asked.push(input);
    return this.#answer(this.page);
  }

  async retryDead(hash?: string): Promise<Outcome<{ readonly retried: number }>> {
    this.asked.push({ hash });
    return this.#answer({ retried: hash === undefined ? this.page.count : 1 });
  }

  scrubStatus(): ContentScrub {
    return this.scrubs.shift() ?? as(examples.scrubDone);
  }

  async scrubNow(request: { readonly waitMs?: number } = {}): Promise<ContentScrub> {
    this.asked.push(request);
    return this.scrubStatus();
  }

  #answer<T>(value: T): Outcome<T> {
    return this.refusal === undefined ? { ok: true, value } : { ok: false, error: this.refusal };
  }
}
