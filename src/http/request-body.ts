import type { IncomingMessage } from 'node:http';
import { MeshError } from '../ports/mesh-error.ts';

/**
 * An upload as the node reads it: pulled chunk by chunk, so that a slow disk holds the client back, and never
 * destroyed by its reader, so that a refused upload can still be answered. It ends only when the whole body
 * was here; anything else throws `MeshError` `incomplete_body`.
 */
export class RequestBody implements AsyncIterableIterator<Uint8Array> {
  receivedBytes = 0;
  readonly #request: IncomingMessage;
  readonly #expectedBytes: number | undefined;
  readonly #onChange = (): void => this.#wakeReader();
  readonly #onCut = (): void => this.#cut();
  #reading = false;
  #ended = false;
  #failure: MeshError | undefined;
  #wake: (() => void) | undefined;

  constructor(request: IncomingMessage) {
    this.#request = request;
    const length = request.headers['content-length'];
    this.#expectedBytes = length === undefined ? undefined : Number(length);
  }

  /** True while the reader waits for bytes of the client. */
  get starved(): boolean {
    return this.#wake !== undefined;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<Uint8Array, undefined>> {
    if (!this.#reading) this.#start();
    for (;;) {
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#ended) return { done: true, value: undefined };
      const chunk = this.#request.read() as Uint8Array | null;
      if (chunk !== null) {
        this.receivedBytes += chunk.length;
        return { done: false, value: chunk };
      }
      if (!this.#ended) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }

  async return(): Promise<IteratorResult<Uint8Array, undefined>> {
    this.release();
    return { done: true, value: undefined };
  }

  /** Makes the reader fail: the rest of the body is not coming. */
  fail(message: string): void {
    if (this.#ended || this.#failure !== undefined) return;
    this.#failure = new MeshError('incomplete_body', message, { detail: { receivedBytes: this.receivedBytes } });
    this.#wakeReader();
  }

  /** Lets go of the request. What is left of the body is the connection's to drop. */
  release(): void {
    if (!this.#reading) return;
    this.#request.off('readable', this.#onChange).off('end', this.#onEnd).off('close', this.#onCut);
  }

  #start(): void {
    this.#reading = true;
    if (this.#request.readableEnded) this.#onEnd();
    else if (this.#request.destroyed) this.#cut();
    else this.#request.on('readable', this.#onChange).on('end', this.#onEnd).on('close', this.#onCut);
  }

  readonly #onEnd = (): void => {
    if (this.#expectedBytes !== undefined && this.#expectedBytes !== this.receivedBytes) {
      this.fail(`The body is ${this.receivedBytes} bytes and Content-Length says ${this.#expectedBytes}.`);
    }
    this.#ended = true;
    this.#wakeReader();
  };

  #cut(): void {
    this.fail('The connection ended before the whole body had arrived.');
  }

  #wakeReader(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }
}
