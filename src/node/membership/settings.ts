import type { Labels } from '../../../crdt/control/member.ts';
import type { LivenessTimes } from './liveness.ts';

/** What a node says of itself and how it watches the others; everything has a default. */
export interface MembershipSettings {
  /** Where its API can be reached from elsewhere. */
  readonly url?: string;
  /** For people only: placement trusts the labels in the control log. */
  readonly labels?: Labels;
  /** The most this node is to hold, in bytes; its disk's capacity when absent. */
  readonly capacityBytes?: number;
  /** Between two heartbeats, in milliseconds; 5 s when absent. */
  readonly heartbeatIntervalMs?: number;
  readonly suspectAfterMs?: number;
  readonly offlineAfterMs?: number;
  /** Whether this node enters its own capacity into the control log; not when absent. */
  readonly autoCapacity?: boolean;
}

const heartbeatIntervalMsDefault = 5_000;
const suspectAfterMsDefault = 15_000;
const offlineAfterMsDefault = 60_000;
const returnBeats = 2;
const returnConnectedMs = 5_000;

/** A larger mesh beats more slowly, so that no node hears more than this of all the others: 200 members beat every 5 s. */
const heardPerSecondMax = 40;
/** How many heartbeats may be lost before a node is suspect, and before it is offline. */
const suspectAfterBeats = 3;
const offlineAfterBeats = 12;

/** The pace of a mesh of so many members: the same on every node that has the same settings. */
export interface Pace {
  /** Mean time between two heartbeats of a node. */
  readonly intervalMs: number;
  readonly times: LivenessTimes;
}

/** How fast hearts beat and how patient watchers are in a mesh of so many members. */
export function paceOf(members: number, settings: MembershipSettings): Pace {
  const wantedMs = settings.heartbeatIntervalMs ?? heartbeatIntervalMsDefault;
  const intervalMs = Math.max(wantedMs, (members / heardPerSecondMax) * 1_000);
  const suspectAfterMs = Math.max(settings.suspectAfterMs ?? suspectAfterMsDefault, suspectAfterBeats * intervalMs);
  const offlineAfterMs = Math.max(
    settings.offlineAfterMs ?? offlineAfterMsDefault,
    offlineAfterBeats * intervalMs,
    suspectAfterMs,
  );
  return { intervalMs, times: { suspectAfterMs, offlineAfterMs, returnBeats, returnConnectedMs } };
}
