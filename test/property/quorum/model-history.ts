import { type Certificate, isSameValue, linkHash, majorityOf, type Statement } from '../../../crdt/certificate.ts';
import type { NodeId } from '../../../crdt/ids.ts';
import { compareBallots } from '../../../crdt/quorum/ballot.ts';
import type { PreparedRound } from '../../../crdt/quorum/proposer.ts';
import { cluster, signatureOf } from './model-parts.ts';

interface Ended {
  readonly register: string;
  readonly startedAt: number;
  readonly endedAt: number;
  /** The position of the certificate the operation ended with. */
  readonly position: number;
}

/** What is claimed of every run, checked as it goes. */
export class ModelHistory {
  readonly violations: string[] = [];
  readonly ended: Ended[] = [];
  readonly #chosen = new Map<string, Certificate>();
  readonly #coordinatorsOf: (epoch: number) => readonly NodeId[];
  certificates = 0;

  constructor(coordinatorsOf: (epoch: number) => readonly NodeId[]) {
    this.#coordinatorsOf = coordinatorsOf;
  }

  record(certificate: Certificate): void {
    this.certificates += 1;
    const { statement, signatures, batch } = certificate;
    const { register, position, head, epoch } = statement;
    const voters = this.#coordinatorsOf(epoch);
    const sound = signatures
      .filter(([id]) => voters.includes(id))
      .filter(([id, text]) => {
        return text === Buffer.from(signatureOf(statement, id, batch !== undefined)).toString('base64url');
      });
    if (sound.length < majorityOf(voters.length)) this.violations.push(`${register} ${position} ${head} is not proven`);
    const place = `${register} ${position}`;
    const known = this.#chosen.get(place)?.statement;
    if (known !== undefined && !isSameValue(known, statement)) {
      this.violations.push(`${place} has two heads: ${known.head} and ${head}`);
    }
    this.#chosen.set(place, certificate);
    if (position === 1) return;
    const before = this.#chosen.get(`${register} ${position - 1}`)?.statement;
    if (before === undefined) this.violations.push(`${place} follows a value without a certificate`);
    else if (linkHash(cluster, register, before) !== statement.previous) this.violations.push(`${place} is not linked`);
    else if (!head.startsWith(`${before.head}.`)) this.violations.push(`${place} does not follow ${before.head}`);
  }

  /** A majority that promised a later round than the certificate's must know of what that one chose. */
  forgotten({ settings }: PreparedRound, certified: Statement): void {
    const order = settings.epoch - certified.epoch || compareBallots(settings.ballot, certified.ballot);
    if (order <= 0) return;
    this.violations.push(`${settings.register} ${certified.position} was chosen, and a majority has forgotten it`);
  }

  /** Each register's history is linearizable: what begins after something ended sees at least what that saw. */
  checkOrder(): void {
    for (const register of new Set(this.ended.map((each) => each.register))) {
      const ended = this.ended.filter((each) => each.register === register);
      for (const early of ended) {
        const late = ended.find((each) => each.startedAt > early.endedAt && each.position < early.position);
        if (late !== undefined) this.violations.push(`${register}: ${late.position} was read after ${early.position}`);
      }
    }
  }
}
