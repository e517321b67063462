import { z } from 'zod';

type Json = Readonly<Record<string, unknown>>;

interface MediaType {
  readonly schema: Json;
  readonly examples: Readonly<Record<string, { readonly value: unknown }>>;
}

interface DocumentedResponse {
  readonly description: string;
  readonly headers?: Readonly<Record<string, Json>>;
  readonly content?: Readonly<Record<string, MediaType>>;
}

interface DocumentedOperation {
  readonly operationId: string;
  readonly parameters: readonly {
    readonly name: string;
    readonly in: string;
    readonly schema: Json;
    readonly example?: unknown;
  }[];
  readonly requestBody?: { readonly content: Readonly<Record<string, MediaType>> };
  readonly responses: Readonly<Record<string, DocumentedResponse>>;
}

export interface OpenApiDocument {
  readonly openapi: string;
  readonly paths: Readonly<Record<string, Readonly<Record<string, DocumentedOperation>>>>;
  readonly components: {
    readonly schemas: Readonly<Record<string, Json>>;
    readonly headers: Readonly<Record<string, Json>>;
    readonly responses: Readonly<Record<'NotFound' | 'MethodNotAllowed', DocumentedResponse>>;
  };
}

/** Holds values against an OpenAPI document's own JSON schemas, read back from the document as a client would. */
export class OpenApiChecker {
  readonly document: OpenApiDocument;
  readonly #definitions: Json;
  readonly #parsed = new Map<string, z.ZodType>();

  constructor(document: unknown) {
    this.document = document as OpenApiDocument;
    this.#definitions = toDefinitions(this.document.components.schemas) as Json;
  }

  /** Why the value does not fit the schema; undefined when it does. */
  faultIn(value: unknown, schema: Json): string | undefined {
    const text = JSON.stringify(schema);
    let parser = this.#parsed.get(text);
    if (parser === undefined) {
      const root = { ...(toDefinitions(schema) as Json), $defs: this.#definitions };
      parser = z.fromJSONSchema(root as Parameters<typeof z.fromJSONSchema>[0]);
      this.#parsed.set(text, parser);
    }
    const result = parser.safeParse(value);
    return result.success ? undefined : z.prettifyError(result.error);
  }

  /** Throws unless the document has this answer: its operation, status, media type and the body's shape. */
  check(
    method: string,
    path: string,
    response: { readonly status: number; readonly type: string | null; readonly body: string },
  ): void {
    const what = `${method} ${path} → ${response.status}`;
    const documented = this.#responseOf(method, path, response.status);
    if (documented === undefined) throw new Error(`${what} is not documented`);
    if (response.body === '') return;
    const [type = ''] = (response.type ?? '').split(';');
    const media = documented.content?.[type] ?? documented.content?.['*/*'];
    if (media === undefined) throw new Error(`${what}: ${type} is not documented`);
    if (!type.endsWith('json') || documented.content?.[type] === undefined) return;
    const fault = this.faultIn(JSON.parse(response.body), media.schema);
    if (fault !== undefined) throw new Error(`${what}: ${fault}\n${response.body}`);
  }

  #responseOf(method: string, path: string, status: number): DocumentedResponse | undefined {
    if (status === 405) return this.document.components.responses.MethodNotAllowed;
    // HEAD answers as GET does, wherever it is not documented by itself.
    const operation = this.operationOf(method, path) ?? (method === 'HEAD' ? this.operationOf('GET', path) : undefined);
    if (operation !== undefined) return operation.responses[status];
    return status === 401 || status === 403 || status === 404 ? this.document.components.responses.NotFound : undefined;
  }

  operationOf(method: string, path: string): DocumentedOperation | undefined {
    const [plain = ''] = path.split('?', 1);
    for (const [template, operations] of Object.entries(this.document.paths)) {
      const source = template
        .replaceAll('.', '\\.')
        .replace(/\{(?:ns|id)\}/, '[^/]*')
        .replace(/\{(?:key|scope)\}/, '.*');
      const operation = operations[method.toLowerCase()];
      if (operation !== undefined && new RegExp(`^${source}$`).test(plain)) return operation;
    }
    return undefined;
  }
}

/** Moves references from where OpenAPI keeps schemas to where JSON Schema does. */
function toDefinitions(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value).replaceAll('#/components/schemas/', '#/$defs/'));
}
