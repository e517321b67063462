import type { AnabranchClient } from '../client/http-client.ts';
import type { NodeInfo } from '../node/api.ts';
import { CommandFailure, exitCodes } from './errors.ts';
import { printable } from './output.ts';

/** The member of a name or an id. */
export async function findNode(client: AnabranchClient, node: string): Promise<NodeInfo> {
  const { nodes } = await client.nodes();
  const found = nodes.find(({ name, nodeId }) => nodeId === node || name === node);
  if (found !== undefined) return found;
  const names = nodes.map(({ name }) => printable(name)).join(', ');
  throw new CommandFailure(`there is no member ${printable(node)}; there are ${names}`, exitCodes.notFound);
}

/** The id of a member; where the same change was asked for before, it may have put the member out: then what was given. */
export async function findNodeId(client: AnabranchClient, node: string, operationId: string | undefined) {
  try {
    return (await findNode(client, node)).nodeId;
  } catch (error) {
    if (operationId !== undefined && error instanceof CommandFailure) return node;
    throw error;
  }
}
