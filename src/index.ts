/**
 * The library: run a node inside a program. `prepareSwarm` makes the directories of a cluster on one machine,
 * `openNode` starts the node of a directory, and `MeshNode` is what can be done with it.
 */
export {
  type ConfirmationEvidence,
  type ConfirmationExpected,
  type VerifiedConfirmation,
  verifyConfirmation,
} from '../crdt/confirmation-verify.ts';
export { PinoLog } from './adapters/system/log.ts';
export { openNode, type RunningNode } from './compose.ts';
export type {
  AskedOperation,
  ChangeInput,
  Checkpoint,
  ClusterApi,
  CommitMode,
  CommittedChange,
  Confirmation,
  ConfirmInput,
  Conflict,
  ConflictPage,
  ConflictsInput,
  ConsistencyProof,
  ControlStatus,
  GraphVersion,
  InclusionProof,
  ListedObject,
  ListInput,
  Listing,
  LoggedEntry,
  LogListing,
  MergeInput,
  MeshEvent,
  MeshNode,
  NamespaceInfo,
  NamespacePolicy,
  NodeInfo,
  NodeState,
  NodeStatus,
  ObjectGraph,
  Outcome,
  PutInput,
  QuorumState,
  QuorumStatus,
  ReadInput,
  ReadMode,
  ReadVersion,
  Refusal,
  RefusalCode,
  ScopeConfiguration,
  VersionKind,
  VersionState,
  WriteTarget,
  WrittenVersion,
} from './node/api.ts';
export { MeshError, type MeshErrorCode } from './ports/mesh-error.ts';
export { prepareSwarm } from './swarm/swarm-directory.ts';
