import {
  type CertifiedEntry,
  type Checkpoint,
  decodeCheckpointLine,
  decodeLogLine,
  isCheckpointLine,
} from './control/checkpoint.ts';
import type { EntryText } from './control/entry.ts';
import { type ControlState, foundingState } from './control/state.ts';
import { checkEntryCertificate, foldEntry, treeRoot } from './control-log.ts';
import { decodeGenesis } from './genesis.ts';
import { type ClusterId, err, ok, type Result } from './ids.ts';
import { decodeUtf8 } from './utf8.ts';

/** The first line of a log that does not hold. */
export interface LogFault {
  /** The entry it should be, 0 being the genesis; or the checkpoint at the end. */
  readonly at: number | 'checkpoint';
  /** A sentence that says why, in the words "entry … does not hold". */
  readonly message: string;
}

/** What a log that holds comes to. */
export interface VerifiedLog {
  readonly state: ControlState;
  readonly checkpoint: Checkpoint;
}

/**
 * Checks an exported control log line by line, with nothing but the log itself: the genesis entry's text, then of
 * each entry its text, its place in the chain, what it does, and the certificate by those who were coordinators
 * before it; at the end the Merkle root of all texts against the checkpoint. In memory is the cluster's state and
 * never the log, beside one operation id of each operation.
 *
 * A log proves that it belongs to its own genesis entry. That this is the right cluster, only its id can tell: hand
 * it in when you know it.
 */
export class ControlLogVerifier {
  readonly #cluster: ClusterId | undefined;
  #state: ControlState | undefined;
  /** The last entry, and the state it followed. */
  #last: { readonly before: ControlState; readonly entry: EntryText } | undefined;
  #checkpoint: Checkpoint | undefined;

  /** @param cluster the id of the cluster whose log this has to be; any when absent */
  constructor(cluster?: ClusterId) {
    this.#cluster = cluster;
  }

  /** What the next line has to be. */
  get position(): LogFault['at'] {
    return this.#checkpoint === undefined ? (this.#state?.tree.size ?? 0) : 'checkpoint';
  }

  /**
   * Takes the next line, without its newline.
   *
   * @returns why it does not hold, after which nothing more can be said; undefined when it does. Never throws.
   */
  push(input: string | Uint8Array): LogFault | undefined {
    const line = typeof input === 'string' ? input : decodeUtf8(input);
    if (line === undefined) return this.#unreadable(input as Uint8Array);
    if (this.#checkpoint !== undefined) return this.fault('there is more after it');
    if (this.#state === undefined) return this.#begin(line);
    return isCheckpointLine(line) ? this.#finish(this.#state, line) : this.#advance(this.#state, line);
  }

  /** What the lines come to, or what is missing at their end. */
  end(): Result<VerifiedLog, LogFault> {
    if (this.#state === undefined) return err(faultAt(0, 'there is no line'));
    if (this.#checkpoint === undefined) return err(faultAt('checkpoint', 'it is missing: the log was cut off'));
    return ok({ state: this.#state, checkpoint: this.#checkpoint });
  }

  /** A fault of the next line, such as one that was seen in reading it. */
  fault(message: string): LogFault {
    return faultAt(this.position, message);
  }

  #unreadable(input: Uint8Array): LogFault {
    const rest = Buffer.from(input).toString('utf8');
    const at = this.#state !== undefined && isCheckpointLine(rest) ? 'checkpoint' : this.position;
    return faultAt(at, 'the line is not valid UTF-8');
  }

  #begin(line: string): LogFault | undefined {
    // Its decoder allows one newline at the end, which is no part of the entry and none of a line.
    if (line.endsWith('\n')) return this.fault('the line has a newline in it');
    const decoded = decodeGenesis(line);
    if (!decoded.ok) return this.fault(decoded.error);
    const { genesis, id } = decoded.value;
    if (this.#cluster !== undefined && this.#cluster !== id) {
      return this.fault(`it founds the cluster ${id}, not ${this.#cluster}`);
    }
    this.#state = foundingState(genesis, id);
    return undefined;
  }

  #advance(state: ControlState, line: string): LogFault | undefined {
    const decoded = decodeLogLine(line);
    if (!decoded.ok) return this.fault(decoded.error);
    const { entry, certificate } = decoded.value;
    const genesisFault = checkGenesisWitness(state, decoded.value);
    if (genesisFault !== undefined) return genesisFault;
    const folded = foldEntry(state, entry);
    if (!folded.ok) return this.fault(folded.error.message);
    const fault = checkEntryCertificate(state, entry, certificate);
    if (fault !== undefined) return this.fault(fault);
    this.#last = { before: state, entry };
    this.#state = folded.value;
    return undefined;
  }

  #finish(state: ControlState, line: string): LogFault | undefined {
    const decoded = decodeCheckpointLine(line);
    if (!decoded.ok) return faultAt('checkpoint', decoded.error);
    const checkpoint = decoded.value;
    const fault = this.#checkCheckpoint(state, checkpoint);
    if (fault !== undefined) return fault;
    this.#checkpoint = checkpoint;
    return undefined;
  }

  #checkCheckpoint(state: ControlState, { cluster, size, root, certificate }: Checkpoint): LogFault | undefined {
    const wrong = (message: string): LogFault => faultAt('checkpoint', message);
    const actualRoot = treeRoot(state);
    if (cluster !== state.cluster) {
      // With no other entry to tell, the root says which of the two was changed.
      if (size === 1 && state.seq === 0 && root !== actualRoot) {
        return faultAt(0, `it founds the cluster ${state.cluster}, and the checkpoint is of ${cluster}`);
      }
      return wrong(`it is of the cluster ${cluster}, and the log of ${state.cluster}`);
    }
    if (size !== state.tree.size) return wrong(`it counts ${size} entries, and there are ${state.tree.size}`);
    if (root !== actualRoot) return wrong(`its Merkle root is ${root}, and that of the entries is ${actualRoot}`);
    if (this.#last === undefined) return certificate === null ? undefined : wrong('a genesis has no certificate');
    if (certificate === null) return wrong('the certificate of the last entry is missing');
    const fault = checkEntryCertificate(this.#last.before, this.#last.entry, certificate);
    return fault === undefined ? undefined : wrong(`of the last entry: ${fault}`);
  }
}

/**
 * Checks the lines of an exported control log, each without its newline; see `ControlLogVerifier`. Never throws.
 *
 * @param cluster the id of the cluster whose log this has to be; any when absent
 * @returns what the log comes to, or the first line that does not hold
 */
export function verifyControlLog(
  lines: Iterable<string | Uint8Array>,
  cluster?: ClusterId,
): Result<VerifiedLog, LogFault> {
  const verifier = new ControlLogVerifier(cluster);
  for (const line of lines) {
    const fault = verifier.push(line);
    if (fault !== undefined) return err(fault);
  }
  return verifier.end();
}

/**
 * Nobody signs the genesis entry: what names its hash is entry 1. When the two disagree, entry 1 is the one that was
 * changed unless its certificate still has its hash.
 */
function checkGenesisWitness(state: ControlState, { entry, certificate }: CertifiedEntry): LogFault | undefined {
  if (state.seq !== 0 || entry.entry.seq !== 1 || entry.entry.previous === state.cluster) return undefined;
  if (certificate.statement.head !== entry.hash) return undefined;
  return faultAt(0, `it founds the cluster ${state.cluster}, and entry 1 is of ${entry.entry.previous}`);
}

function faultAt(at: LogFault['at'], message: string): LogFault {
  const subject = at === 'checkpoint' ? 'the checkpoint' : `entry ${at}`;
  return { at, message: `${subject} does not hold: ${message}` };
}
