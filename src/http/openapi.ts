import { z } from 'zod';
import type { Resource } from './context.ts';
import { type ProblemCode, problemMediaType, problemStatus } from './errors.ts';
import { headerValues, problemExamples } from './examples.ts';
import type { Answer, Body, HeaderName, Operation } from './operation.ts';
import { commonProblems, operations } from './operations.ts';
import { namedSchemas, problem } from './schemas.ts';

/** The OpenAPI 3.1 document, made of the schemas requests are parsed with and of examples that tests hold against them. */

export const openApi: Resource = (scope) => {
  let text: string | undefined;
  scope.get('/openapi.json', (_request, reply) => {
    text ??= JSON.stringify(buildOpenApi());
    reply.header('content-type', 'application/json').send(text);
  });
};

type Json = Record<string, unknown>;

export function buildOpenApi(): Json {
  const paths: Record<string, Json> = {};
  for (const operation of operations) {
    paths[operation.path] = { ...paths[operation.path], [operation.method]: describeOperation(operation) };
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Anabranch',
      version: '1',
      description:
        'A peer-to-peer mesh that stores versioned objects and joins offline branches without losing one. ' +
        'Keys are percent-encoded paths; `%2F` equals `/`. Lists are ordered by UTF-8 bytes. Unknown query parameters ' +
        'are refused. An address that is none answers 404 `not_found`, a method it lacks 405 `method_not_allowed`. ' +
        'A refusal has a stable `code`; each call lists those that it may answer with.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: 'http://127.0.0.1:7400' }],
    security: [{ token: [] }],
    paths,
    components: {
      securitySchemes: { token: { type: 'http', scheme: 'bearer' } },
      schemas: namedComponents(),
      headers: mapValues(headerValues, describeHeader),
      responses: {
        NotFound: problemResponse(['not_found'], true),
        MethodNotAllowed: { ...problemResponse(['method_not_allowed'], true), headers: headerReferences(['Allow']) },
      },
    },
  };
}

function describeOperation(operation: Operation): Json {
  const codes = [...new Set([...operation.problems, ...commonProblems, ...tokenProblems(operation)])];
  return {
    operationId: operation.id,
    summary: operation.summary,
    ...(operation.description === undefined ? undefined : { description: operation.description }),
    ...(operation.open === true ? { security: [] } : undefined),
    parameters: [...pathParameters(operation.path), ...queryParameters(operation), ...headerParameters(operation)],
    ...(operation.requestBody === undefined
      ? undefined
      : {
          requestBody: {
            required: operation.method === 'post' || operation.requestBody.mediaType === 'application/json',
            content: contentOf(operation.requestBody),
          },
        }),
    responses: {
      ...Object.fromEntries(operation.answers.map((answer) => [answer.status, describeAnswer(answer)])),
      ...problemResponses(codes, operation.method !== 'head'),
    },
  };
}

const tokenProblems = (operation: Operation): ProblemCode[] => (operation.open === true ? [] : ['unauthorized']);

function describeAnswer({ description, headers, body }: Answer): Json {
  return {
    description,
    ...(headers === undefined ? undefined : { headers: headerReferences(headers) }),
    ...(body === undefined ? undefined : { content: contentOf(body) }),
  };
}

function contentOf({ mediaType, schema, examples }: Body): Json {
  return {
    [mediaType]: {
      schema: schema === undefined ? { type: 'string' } : referenceTo(schema),
      examples: mapValues(examples, (value) => ({ value })),
    },
  };
}

function problemResponses(codes: readonly ProblemCode[], withBody: boolean): Record<string, Json> {
  const byStatus = Object.groupBy(codes, problemStatus);
  return Object.fromEntries(
    Object.entries(byStatus).map(([status, group = []]) => [status, problemResponse(group, withBody)]),
  );
}

function problemResponse(codes: readonly ProblemCode[], withBody: boolean): Json {
  const examples = Object.fromEntries(codes.map((code) => [code, problemExamples[code]]));
  const headers = codes.flatMap((code) => problemHeaders[code] ?? []);
  return {
    description: codes.map((code) => `\`${code}\``).join(', '),
    ...(headers.length > 0 ? { headers: headerReferences(headers) } : undefined),
    ...(withBody ? { content: contentOf({ mediaType: problemMediaType, schema: problem, examples }) } : undefined),
  };
}

const problemHeaders: Readonly<Partial<Record<ProblemCode, readonly HeaderName[]>>> = {
  unauthorized: ['WWW-Authenticate'],
  range_not_satisfiable: ['Content-Range'],
};

const pathParameterDocs: Readonly<Record<string, Json>> = {
  ns: {
    description: 'Namespace.',
    schema: { type: 'string', pattern: '^[a-z0-9][a-z0-9.-]{1,62}$' },
    example: 'team-docs',
  },
  id: {
    description: 'Node id.',
    schema: { type: 'string', pattern: '^[a-z2-7]{26}$' },
    example: '6ygitilw4io3owygr557wh2ose',
  },
  scope: {
    description: 'What the settings are for, such as `cluster` or `node/<id>`. Slashes may stand as they are.',
    schema: { type: 'string' },
    example: 'cluster',
  },
  key: {
    description:
      'Key: 1 to 1024 bytes of UTF-8, without NUL and without `.` or `..` segments. Slashes may stand as they are.',
    schema: { type: 'string' },
    example: 'rivers/anabranch.md',
  },
};

function pathParameters(path: string): Json[] {
  return [...path.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => ({
    name,
    in: 'path',
    required: true,
    ...pathParameterDocs[name],
  }));
}

function queryParameters({ parameters }: Operation): Json[] {
  return Object.entries(parameters?.shape ?? {}).map(([name, schema]) => {
    const { description, ...rest } = inlineSchema(schema as z.ZodType);
    return { name, in: 'query', required: false, description, schema: rest };
  });
}

function headerParameters({ requestHeaders = [] }: Operation): Json[] {
  return requestHeaders.map(({ name, description, example }) => ({
    name,
    in: 'header',
    required: false,
    description,
    schema: { type: 'string' },
    example,
  }));
}

function headerReferences(names: readonly HeaderName[]): Json {
  return Object.fromEntries(names.map((name) => [name, { $ref: `#/components/headers/${name}` }]));
}

const describeHeader = (example: string | number): Json => ({
  schema: { type: typeof example === 'number' ? 'integer' : 'string' },
  example,
});

const referencePrefix = '#/components/schemas/';

function referenceTo(schema: z.ZodType): Json {
  const id = namedSchemas.get(schema)?.id;
  return id === undefined ? inlineSchema(schema) : { $ref: referencePrefix + id };
}

function inlineSchema(schema: z.ZodType): Json {
  const { $schema: _dialect, ...json } = z.toJSONSchema(schema, { io: 'output' });
  return json;
}

function namedComponents(): Record<string, Json> {
  const { schemas } = z.toJSONSchema(namedSchemas, { uri: (id) => referencePrefix + id });
  return mapValues(schemas, ({ $schema: _dialect, $id: _id, ...json }) => json);
}

function mapValues<Value, Mapped>(
  values: Readonly<Record<string, Value>>,
  change: (value: Value) => Mapped,
): Record<string, Mapped> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, change(value)]));
}
