import type { ControlState } from '../../crdt/control/state.ts';
import type { NodeId } from '../../crdt/ids.ts';
import type { Placement, PlacementNode } from '../../crdt/placement.ts';
import { type Assignment, type PlacementChange, PlacementMap, placementChange } from './placement-map.ts';

/** The part of the control state that placement follows from. */
type PlacementState = Pick<ControlState, 'members' | 'namespaces'>;

export interface PlacementDirectoryDependencies {
  readonly state: () => PlacementState;
  /** The members that content can be placed on, with their weights and labels. */
  readonly nodesOf: (state: PlacementState) => readonly PlacementNode[];
}

/** Where everything is to be now, as the control log of this node says. */
export class PlacementDirectory {
  readonly #dependencies: PlacementDirectoryDependencies;
  #current: { readonly state: PlacementState; readonly map: PlacementMap } | undefined;
  /** Asked several times in a row while one object is written. */
  #last:
    | { readonly map: PlacementMap; readonly ns: string; readonly key: string; readonly placement: Placement }
    | undefined;

  constructor(dependencies: PlacementDirectoryDependencies) {
    this.#dependencies = dependencies;
  }

  /** Placement by the present state; the same object until that changes. */
  map(): PlacementMap {
    const state = this.#dependencies.state();
    const current = this.#current;
    if (current?.state.members === state.members && current.state.namespaces === state.namespaces) return current.map;
    const map = this.mapOf(state);
    this.#current = { state, map };
    return map;
  }

  /** Placement by another state. */
  mapOf(state: PlacementState): PlacementMap {
    return new PlacementMap(this.#dependencies.nodesOf(state), state.namespaces);
  }

  /** The desired holders of an object. */
  desired(ns: string, key: string): Placement {
    const map = this.map();
    const last = this.#last;
    if (last?.map === map && last.key === key && last.ns === ns) return last.placement;
    const placement = map.desired(ns, key);
    this.#last = { map, ns, key, placement };
    return placement;
  }

  /** True when a node is a desired holder of an object. */
  holds(node: NodeId, ns: string, key: string): boolean {
    return this.desired(ns, key).holders.includes(node);
  }

  /** The desired holders, and who stands in for those of them that are gone. */
  assigned(ns: string, key: string, gone: ReadonlySet<NodeId>): Assignment {
    const desired = this.desired(ns, key);
    if (!desired.holders.some((holder) => gone.has(holder))) return { desired, substitutes: [] };
    return this.map().assigned(ns, key, gone);
  }

  /** What moves from one state to another. */
  change(before: PlacementState, after: PlacementState): PlacementChange {
    const namespaces = new Set([...before.namespaces.keys(), ...after.namespaces.keys()]);
    return placementChange(this.mapOf(before), this.mapOf(after), namespaces);
  }
}
