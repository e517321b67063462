import { causality } from './causality.ts';
import type { CheckerFactory } from './checker.ts';
import { cleanStop } from './clean-stop.ts';
import { confirmations } from './confirmations.ts';
import { control } from './control.ts';
import { convergence } from './convergence.ts';
import { documents } from './documents.ts';
import { drops } from './drops.ts';
import { events } from './events.ts';
import { heads } from './heads.ts';
import { membership } from './membership.ts';
import { noLoss } from './no-loss.ts';
import { patience } from './patience.ts';
import { proofs } from './proofs.ts';
import { quorumWrites } from './quorum-writes.ts';
import { recovery } from './recovery.ts';
import { replicas } from './replicas.ts';
import { uniqueDots } from './unique-dots.ts';
import { verifiedBytes } from './verified-bytes.ts';
import { votes } from './votes.ts';

export const allCheckers: readonly CheckerFactory[] = [
  noLoss,
  convergence,
  causality,
  uniqueDots,
  heads,
  verifiedBytes,
  recovery,
  events,
  documents,
  cleanStop,
  confirmations,
  control,
  votes,
  membership,
  drops,
  proofs,
  replicas,
  patience,
  quorumWrites,
];
