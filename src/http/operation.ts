import type { z } from 'zod';
import type { ProblemCode } from './errors.ts';
import type { headerValues } from './examples.ts';

/** What a call of the API is as data: what it takes, what it answers, and how it can be refused. */

export type HeaderName = keyof typeof headerValues;

export interface Answer {
  readonly status: number;
  readonly description: string;
  readonly headers?: readonly HeaderName[];
  /** Absent when there is no body. */
  readonly body?: Body;
}

export interface Body {
  readonly mediaType: string;
  /** Absent for bytes of any kind. */
  readonly schema?: z.ZodType;
  readonly examples: Readonly<Record<string, unknown>>;
}

export interface Operation {
  readonly method: 'get' | 'head' | 'put' | 'post' | 'delete';
  readonly path: string;
  readonly id: string;
  readonly summary: string;
  readonly description?: string;
  /** Query parameters. */
  readonly parameters?: z.ZodObject;
  readonly requestHeaders?: readonly RequestHeader[];
  readonly requestBody?: Body;
  readonly answers: readonly Answer[];
  /** Beside those every call has. */
  readonly problems: readonly ProblemCode[];
  /** True when no token is needed. */
  readonly open?: boolean;
}

export interface RequestHeader {
  readonly name: string;
  readonly description: string;
  readonly example: string;
}

export const json = (schema: z.ZodType, named: Readonly<Record<string, unknown>>): Body => ({
  mediaType: 'application/json',
  schema,
  examples: named,
});
