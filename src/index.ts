/**
 * The library: run a node inside a program. `prepareSwarm` makes the directories of a cluster on one machine,
 * `openNode` starts the node of a directory, and `MeshNode` is what can be done with it.
 */
export { PinoLog } from './adapters/system/log.ts';
export { openNode, type RunningNode } from './compose.ts';
export type {
  CommitMode,
  Conflict,
  ConflictPage,
  ConflictsInput,
  GraphVersion,
  ListedObject,
  ListInput,
  Listing,
  MergeInput,
  MeshEvent,
  MeshNode,
  NodeInfo,
  NodeState,
  NodeStatus,
  ObjectGraph,
  Outcome,
  PutInput,
  ReadInput,
  ReadMode,
  ReadVersion,
  Refusal,
  RefusalCode,
  VersionKind,
  VersionState,
  WriteTarget,
  WrittenVersion,
} from './node/api.ts';
export { MeshError, type MeshErrorCode } from './ports/mesh-error.ts';
export { prepareSwarm } from './swarm/swarm-directory.ts';
