import { describe, expect, expectTypeOf, it } from 'vitest';
import type { z } from 'zod';
import * as schemas from '../../../src/http/schemas.ts';
import type {
  ConflictPage,
  Listing,
  MeshEvent,
  NodeInfo,
  NodeStatus,
  ObjectGraph,
  WrittenVersion,
} from '../../../src/node/api.ts';

/** A value as JSON carries it: no brands, nothing read-only. */
type Wire<T> = T extends string
  ? string extends T
    ? string
    : T extends { readonly [key: symbol]: unknown }
      ? string
      : T
  : T extends readonly (infer Each)[]
    ? Wire<Each>[]
    : T extends object
      ? { -readonly [Name in keyof T]: Wire<T[Name]> }
      : T;

describe('the schemas', () => {
  it('take all that the node’s types allow', () => {
    expectTypeOf<Wire<WrittenVersion>>().toExtend<z.input<typeof schemas.writtenVersion>>();
    expectTypeOf<Wire<Listing>>().toExtend<z.input<typeof schemas.listing>>();
    expectTypeOf<Wire<ObjectGraph>>().toExtend<z.input<typeof schemas.objectGraph>>();
    expectTypeOf<Wire<ConflictPage>>().toExtend<z.input<typeof schemas.conflictPage>>();
    expectTypeOf<Wire<{ nodes: readonly NodeInfo[] }>>().toExtend<z.input<typeof schemas.nodeList>>();
    expectTypeOf<Wire<NodeStatus>>().toExtend<z.input<typeof schemas.nodeStatus>>();
    expectTypeOf<Wire<MeshEvent>>().toExtend<z.input<typeof schemas.meshEvent>>();
  });

  it('have no member the node’s types lack', () => {
    expectTypeOf<keyof z.input<typeof schemas.writtenVersion>>().toEqualTypeOf<keyof WrittenVersion>();
    expectTypeOf<keyof z.input<typeof schemas.objectGraph>['versions'][number]>().toEqualTypeOf<
      keyof ObjectGraph['versions'][number]
    >();
    expectTypeOf<keyof z.input<typeof schemas.nodeStatus>>().toEqualTypeOf<keyof NodeStatus>();
    expect(schemas.writtenVersion.safeParse({}).success).toBe(false);
  });
});
