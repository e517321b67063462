import { decodeCertificate, encodeCertificate } from '../../crdt/certificate.ts';
import { MeshError } from '../../src/ports/mesh-error.ts';
import { unexpectedResponse } from '../wire/requests.ts';
import { Batcher } from './batcher.ts';
import { type ConfirmItem, confirmsMax, refusalMessageLengthMax, type WireOutcome } from './messages.ts';
import type { QuorumClient } from './proposer-client.ts';
import type { Outcome, UnavailableReason } from './register-kind.ts';

/** Requests to one coordinator under way at once: a slow one does not hold up the others. */
const lanes = 4;
/** Candidates that may wait for one coordinator. */
const queuedMax = 4_096;

const reasons: ReadonlySet<string> = new Set<UnavailableReason>([
  'no_majority',
  'lost',
  'deadline',
  'busy',
  'missing',
  'epoch',
]);

/** Hands candidates to another coordinator, which proposes them. */
export class ConfirmLink {
  readonly #idle: QuorumClient[] = [];
  readonly #all = new Set<QuorumClient>();
  readonly #batcher: Batcher<ConfirmItem, WireOutcome>;

  constructor(createClient: () => QuorumClient, signal: AbortSignal) {
    this.#batcher = new Batcher(
      async (items) => {
        const client = this.#idle.pop() ?? createClient();
        this.#all.add(client);
        try {
          const response = await client.ask({ t: 'confirm', items: [...items] }, signal);
          if (response.t !== 'confirm' || response.outcomes.length !== items.length) {
            throw unexpectedResponse(response);
          }
          return response.outcomes;
        } finally {
          this.#idle.push(client);
        }
      },
      { itemsMax: confirmsMax, queuedMax, lanes },
    );
  }

  /** How the coordinator decided, still to be read. Rejects with `MeshError` when it cannot be asked. */
  async confirm(item: ConfirmItem): Promise<WireOutcome> {
    return (await this.#batcher.ask(item)) ?? { t: 'unavailable', reason: 'busy' };
  }

  /** Drops every stream. */
  close(reason: Error): void {
    for (const client of this.#all) client.close(reason);
  }
}

/** An outcome as it is sent. */
export function wireOutcome(outcome: Outcome): WireOutcome {
  switch (outcome.kind) {
    case 'confirmed':
      return { t: 'confirmed', certificate: encodeCertificate(outcome.certificate) };
    case 'refused': {
      const { refusal, certificate } = outcome;
      const text = certificate === null ? null : encodeCertificate(certificate);
      const message = refusal.message.slice(0, refusalMessageLengthMax);
      return { t: 'refused', refusal: { code: refusal.code, message }, certificate: text };
    }
    case 'unavailable':
      return { t: 'unavailable', reason: outcome.reason };
  }
}

/** An outcome as it came; its certificate is still to be verified. Throws `MeshError` `protocol_violation` when that is none. */
export function readOutcome(wire: WireOutcome): Outcome {
  switch (wire.t) {
    case 'confirmed':
      return { kind: 'confirmed', certificate: readCertificate(wire.certificate) };
    case 'refused': {
      const certificate = wire.certificate === null ? null : readCertificate(wire.certificate);
      return { kind: 'refused', refusal: wire.refusal, certificate };
    }
    case 'unavailable':
      // A reason that a later version added is one for which to come again.
      return { kind: 'unavailable', reason: reasons.has(wire.reason) ? (wire.reason as UnavailableReason) : 'busy' };
  }
}

function readCertificate(text: string): Extract<Outcome, { kind: 'confirmed' }>['certificate'] {
  const certificate = decodeCertificate(text);
  if (!certificate.ok) throw new MeshError('protocol_violation', `unreadable certificate: ${certificate.error}`);
  return certificate.value;
}
