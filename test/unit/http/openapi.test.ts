import { describe, expect, it } from 'vitest';
import { problemCodes } from '../../../src/http/errors.ts';
import { buildOpenApi } from '../../../src/http/openapi.ts';
import { OpenApiChecker } from '../../support/openapi-checker.ts';

const checker = new OpenApiChecker(JSON.parse(JSON.stringify(buildOpenApi())));
const { document } = checker;
const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({
    name: `${method.toUpperCase()} ${path}`,
    method,
    operation,
  })),
);
const responses = [
  ...operations.flatMap(({ name, method, operation }) =>
    Object.entries(operation.responses).map(([status, response]) => ({
      name: `${name} ${status}`,
      method,
      status,
      response,
    })),
  ),
  ...Object.entries(document.components.responses).map(([name, response]) => ({
    name,
    method: 'any',
    status: '400',
    response,
  })),
];

describe('the OpenAPI document', () => {
  it('documents every call of the API', () => {
    expect(operations.map(({ name }) => name)).toEqual([
      'PUT /v1/objects/{ns}/{key}',
      'GET /v1/objects/{ns}/{key}',
      'HEAD /v1/objects/{ns}/{key}',
      'DELETE /v1/objects/{ns}/{key}',
      'GET /v1/objects/{ns}',
      'GET /v1/graphs/{ns}/{key}',
      'POST /v1/merges/{ns}/{key}',
      'POST /v1/confirmations/{ns}/{key}',
      'GET /v1/conflicts',
      'GET /v1/events',
      'GET /v1/status',
      'GET /v1/nodes',
      'POST /v1/nodes',
      'DELETE /v1/nodes/{id}',
      'PUT /v1/nodes/{id}/roles',
      'PUT /v1/nodes/{id}/labels',
      'PUT /v1/nodes/{id}/addresses',
      'PUT /v1/nodes/{id}/capacity',
      'GET /v1/namespaces',
      'GET /v1/namespaces/{ns}',
      'PUT /v1/namespaces/{ns}',
      'GET /v1/configuration',
      'GET /v1/configuration/{scope}',
      'PUT /v1/configuration/{scope}',
      'GET /v1/control-log',
      'GET /v1/control-log/genesis',
      'GET /v1/control-log/checkpoint',
      'GET /v1/control-log/carry-over',
      'GET /v1/control-log/proof',
      'GET /v1/control-log/consistency',
      'GET /v1/replication/placement',
      'POST /v1/replication/preview',
      'GET /v1/replication/status',
      'GET /v1/replication/plan',
      'POST /v1/replication/audit',
      'GET /v1/replicas/{ns}/{key}',
      'POST /v1/nodes/{id}/drain',
      'DELETE /v1/nodes/{id}/drain',
      'GET /v1/nodes/{id}/drain',
      'GET /v1/content/dead',
      'POST /v1/content/dead/retry',
      'GET /v1/content/scrub',
      'POST /v1/content/scrub',
      'GET /healthz',
      'GET /readyz',
      'GET /metrics',
      'GET /openapi.json',
    ]);
    expect(new Set(operations.map(({ operation }) => operation.operationId)).size).toBe(operations.length);
  });

  it('gives every body of every answer an example that fits its schema', () => {
    for (const { name, method, status, response } of responses) {
      const media = Object.values(response.content ?? {});
      expect(media.length, name).toBe(method === 'head' || status === '304' || status === '204' ? 0 : 1);
      for (const { schema, examples } of media) {
        expect(Object.keys(examples).length, name).toBeGreaterThan(0);
        for (const [example, { value }] of Object.entries(examples)) {
          expect(checker.faultIn(value, schema), `${name} ${example}`).toBeUndefined();
        }
      }
    }
  });

  it('gives every request body, parameter in a path or header, and header an example that fits', () => {
    for (const { name, operation } of operations) {
      for (const { schema, examples } of Object.values(operation.requestBody?.content ?? {})) {
        for (const { value } of Object.values(examples)) expect(checker.faultIn(value, schema), name).toBeUndefined();
      }
      for (const parameter of operation.parameters.filter((each) => each.in !== 'query')) {
        expect(checker.faultIn(parameter.example, parameter.schema), `${name} ${parameter.name}`).toBeUndefined();
      }
    }
    for (const [name, { schema, example }] of Object.entries(document.components.headers)) {
      expect(checker.faultIn(example, schema as Record<string, unknown>), name).toBeUndefined();
    }
  });

  it('refers only to what it has', () => {
    const references = JSON.stringify(document).matchAll(/"\$ref":"#\/components\/(\w+)\/([\w-]+)"/g);
    for (const [, kind = '', name = ''] of references) {
      expect(Object.keys(document.components[kind as 'schemas']), `${kind}/${name}`).toContain(name);
    }
  });

  it('shows every code somewhere, under its own status', () => {
    const seen = new Set<string>();
    for (const { name, status, response } of responses) {
      for (const [code, { value }] of Object.entries(response.content?.['application/problem+json']?.examples ?? {})) {
        const problem = value as { code: string; status: number };
        expect(problem.code, name).toBe(code);
        if (name.includes(' ')) expect(String(problem.status), name).toBe(status);
        seen.add(code);
      }
    }
    expect([...seen].sort()).toEqual([...problemCodes].sort());
  });

  it('refuses an example that does not fit, so that the checks above mean something', () => {
    const written = { $ref: '#/components/schemas/WrittenVersion' };
    expect(checker.faultIn({ ns: 'docs' }, written)).toContain('version');
    const { put } = operations[0]?.operation.responses['201']?.content?.['application/json']?.examples ?? {};
    expect(checker.faultIn({ ...(put?.value as object), more: 1 }, written)).toBeDefined();
  });
});
