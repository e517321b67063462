import { controlLogRegister, decodeCertificate, verifyCertificate } from './certificate.ts';
import { decodeLogLine, isCheckpointLine } from './control/checkpoint.ts';
import { type ControlState, coordinatorsOfEpoch, foundingState } from './control/state.ts';
import { checkEntryCertificate, foldEntry } from './control-log.ts';
import { decodeGenesis } from './genesis.ts';
import { type ClusterId, type DocId, err, ok, type Result, type VersionId } from './ids.ts';
import { documentId } from './object-document.ts';

/** What is handed to who knows nothing but the cluster's id. */
export interface ConfirmationEvidence {
  /** The genesis entry's text (`GET /v1/control-log`'s first line, or `peers.json`). */
  readonly genesisText: string;
  /**
   * The lines of the exported control log after the genesis, each without its newline, at least as far as the entry
   * that began the certificate's epoch; none when that is epoch 1.
   */
  readonly controlLogLines: readonly string[];
  /** The certificate's canonical text. */
  readonly certificate: string;
}

/** What the asker knows already, from a source it trusts. */
export interface ConfirmationExpected {
  /** The cluster's id: without it, the evidence proves only that it is consistent in itself. */
  readonly cluster?: ClusterId;
  /** The object that the certificate has to be of. */
  readonly object?: { readonly ns: string; readonly key: string };
}

/** What a certificate proves: that this head was chosen at this position of its object's chain. */
export interface VerifiedConfirmation {
  readonly cluster: ClusterId;
  /** The object's document id. */
  readonly doc: DocId;
  readonly head: VersionId;
  readonly position: number;
  readonly epoch: number;
}

/**
 * Checks an object's certificate offline: the genesis founds the cluster, every entry of the log follows and is certified
 * by who voted before it, and the certificate is signed by a majority of those who voted in its epoch. It proves that the
 * head was chosen, not that it is the latest: remember the highest position that was seen of an object.
 *
 * @returns what is proved, or a sentence that says what does not hold; never throws
 */
export function verifyConfirmation(
  evidence: ConfirmationEvidence,
  expected: ConfirmationExpected = {},
): Result<VerifiedConfirmation, string> {
  const decoded = decodeCertificate(evidence.certificate);
  if (!decoded.ok) return err(`the certificate cannot be read: ${decoded.error}`);
  const { register, head, position, epoch } = decoded.value.statement;
  if (register === controlLogRegister) return err('the certificate is of the control log, not of an object');
  const folded = foldUntil(evidence, epoch);
  if (!folded.ok) return folded;
  const state = folded.value;
  const { cluster } = state;
  if (expected.cluster !== undefined && expected.cluster !== cluster) {
    return err(`the genesis entry founds the cluster ${cluster}, not ${expected.cluster}`);
  }
  const { object } = expected;
  if (object !== undefined && documentId(cluster, object.ns, object.key) !== register) {
    return err(`the certificate is not of the object ${object.ns}/${object.key}`);
  }
  const coordinators = coordinatorsOfEpoch(state, epoch);
  if (coordinators === undefined) return err(`the log ends in epoch ${state.epoch}, the certificate is of ${epoch}`);
  if (!verifyCertificate(decoded.value, { cluster, coordinators })) {
    return err(`the certificate has no valid signatures of a majority of the coordinators of epoch ${epoch}`);
  }
  return ok({ cluster, doc: register as DocId, head: head as VersionId, position, epoch });
}

/** The state after the genesis and as many entries as it takes to know who votes in an epoch. */
function foldUntil(
  { genesisText, controlLogLines }: ConfirmationEvidence,
  epoch: number,
): Result<ControlState, string> {
  const genesis = decodeGenesis(genesisText);
  if (!genesis.ok) return err(`the genesis entry cannot be read: ${genesis.error}`);
  let state = foundingState(genesis.value.genesis, genesis.value.id);
  for (const line of controlLogLines) {
    if (state.epoch >= epoch || isCheckpointLine(line)) break;
    const decoded = decodeLogLine(line);
    const name = `entry ${state.seq + 1} of the log`;
    if (!decoded.ok) return err(`${name} cannot be read: ${decoded.error}`);
    const { entry, certificate } = decoded.value;
    const fault = checkEntryCertificate(state, entry, certificate);
    if (fault !== undefined) return err(`${name} does not hold: ${fault}`);
    const next = foldEntry(state, entry);
    if (!next.ok) return err(`${name} does not hold: ${next.error.message}`);
    state = next.value;
  }
  return ok(state);
}
