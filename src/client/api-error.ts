/** What goes wrong on this side of the wire; every other code is the API's own. */
export type ClientErrorCode =
  | 'unreachable'
  | 'connection_lost'
  | 'timeout'
  | 'bad_response'
  | 'content_mismatch'
  | 'invalid_request';

/** A call that did not succeed: the API's problem document, or what stopped the call on the way. */
export class ApiError extends Error {
  /** The problem's stable code, or a `ClientErrorCode`. */
  readonly code: string;
  /** The HTTP status; 0 when no complete answer came. */
  readonly status: number;
  /** The problem document as the API sent it. */
  readonly problem: Readonly<Record<string, unknown>> | undefined;

  constructor(
    code: string,
    message: string,
    options: {
      readonly status?: number;
      readonly problem?: Readonly<Record<string, unknown>>;
      readonly cause?: unknown;
    } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'ApiError';
    this.code = code;
    this.status = options.status ?? 0;
    this.problem = options.problem;
  }
}

/** Shorthand for what goes wrong on this side. */
export function clientError(code: ClientErrorCode, message: string, cause?: unknown): ApiError {
  return new ApiError(code, message, cause === undefined ? {} : { cause });
}
