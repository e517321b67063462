import { formatBytes } from '../client/draw-graph.ts';
import type { NodeInfo } from '../node/api.ts';
import { printable, table } from './output.ts';

const heading = ['NAME', 'STATE', 'ROLES', 'CAPACITY', 'LABELS', 'DISK', 'HEARTBEAT'];
const longHeading = [...heading, 'ID', 'VERSION', 'URL', 'ADDRESSES'];

/** The members as lines of a table, the first of them its heading. What is long about them comes last, and when asked for. */
export function nodeTable(nodes: readonly NodeInfo[], { long }: { readonly long: boolean }): string[] {
  if (!long) return table([heading, ...nodes.map((node) => cellsOf(node, freeOf(node)))]);
  return table([longHeading, ...nodes.map((node) => [...cellsOf(node, diskOf(node)), ...longCellsOf(node)])]);
}

function cellsOf(node: NodeInfo, disk: string): string[] {
  return [
    printable(node.name),
    stateOf(node),
    node.roles.join(','),
    node.capacity === null ? '-' : `step ${node.capacity}`,
    printable(pairsOf(node.labels)) || '-',
    disk,
    node.self ? 'self' : agoOf(node.lastHeartbeatMs),
  ];
}

function longCellsOf({ nodeId, version, url, addresses }: NodeInfo): string[] {
  return [nodeId, printable(version ?? '-'), printable(url ?? '-'), printable(addresses.join(' ')) || '-'];
}

/** A draining node that is not there any more is to be seen as both. */
function stateOf({ state, draining, self, connected }: NodeInfo): string {
  const words: string[] = [state];
  if (draining && state !== 'draining') words.push('draining');
  if (self) words.push('answers here');
  else if (!connected && (state === 'online' || state === 'draining')) words.push('not connected');
  return words.join(', ');
}

function freeOf({ freeBytes }: NodeInfo): string {
  return freeBytes === null ? '-' : `${formatBytes(freeBytes)} free`;
}

function diskOf({ capacityBytes, freeBytes, usedBytes }: NodeInfo): string {
  if (capacityBytes === null) return '-';
  if (freeBytes === null || usedBytes === null) return formatBytes(capacityBytes);
  return `${formatBytes(usedBytes)} used, ${formatBytes(freeBytes)} free of ${formatBytes(capacityBytes)}`;
}

function agoOf(ageMs: number | null): string {
  if (ageMs === null) return '-';
  const seconds = Math.round(ageMs / 1_000);
  if (seconds < 120) return `${seconds} s ago`;
  const minutes = Math.round(seconds / 60);
  return minutes < 120 ? `${minutes} min ago` : `${Math.round(minutes / 60)} h ago`;
}

function pairsOf(labels: NodeInfo['labels']): string {
  return Object.entries(labels)
    .map(([name, value]) => `${name}=${value}`)
    .join(',');
}
