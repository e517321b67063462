/** What can go wrong in operation, by stable code. What a caller must expect is a `Refusal` instead. */
export type MeshErrorCode =
  | 'content_unavailable'
  | 'corrupt'
  | 'directory_in_use'
  | 'disk_full'
  | 'incomplete_body'
  | 'invalid_config'
  | 'io_error'
  | 'peer_unreachable'
  | 'protocol_violation'
  | 'shutting_down'
  | 'stream_failed'
  | 'timeout'
  | 'too_large'
  | 'wrong_state';

/** An operational failure: a code to act on, a sentence to read, and the cause. */
export class MeshError extends Error {
  readonly code: MeshErrorCode;
  readonly detail: Readonly<Record<string, unknown>>;

  constructor(
    code: MeshErrorCode,
    message: string,
    options: { readonly cause?: unknown; readonly detail?: Readonly<Record<string, unknown>> } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'MeshError';
    this.code = code;
    this.detail = options.detail ?? {};
  }
}
