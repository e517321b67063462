import { z } from 'zod';
import type { NodeId } from '../../crdt/ids.ts';
import { isNodeId } from '../../crdt/node-name.ts';
import { checkKey, checkNamespace } from '../../crdt/object-name.ts';

/** Fields that several messages have. */

/** Bytes, or any other whole number from 0. */
export const countSchema = z.int().min(0).max(Number.MAX_SAFE_INTEGER);
/** The id of a node. */
export const nodeIdSchema = z.custom<NodeId>((value) => typeof value === 'string' && isNodeId(value), 'not a node id');
/** The namespace of an object. */
export const nsSchema = z.string().refine((text) => checkNamespace(text) === undefined, 'not a namespace');
/** The key of an object. */
export const keySchema = z.string().refine((text) => checkKey(text) === undefined, 'not a key');
