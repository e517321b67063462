import { majorityOf } from '../../crdt/certificate.ts';
import type { CoordinatorLink } from './coordinator-link.ts';
import { listedMax } from './messages.ts';
import type { Coordinator, QuorumView, UnavailableReason } from './register-kind.ts';
import type { Decision } from './register-proposer.ts';

/** Registers under way at once: enough to fill the messages to every coordinator. */
const carriedAtOnceMax = 256;

/** How far a carry-over has come. */
interface CarryProgress {
  readonly epoch: number;
  /** Every register up to this name is carried over; null at the start. */
  readonly after: string | null;
  /** Registers proposed again so far, by this call. */
  readonly carried: number;
}

/** How a carry-over ended: complete, or to be called again with `after` of what was reached. */
export type CarryOutcome =
  | { readonly kind: 'complete'; readonly progress: CarryProgress }
  | { readonly kind: 'unavailable'; readonly reason: UnavailableReason; readonly progress: CarryProgress };

/** What a carry-over is done with. */
export interface CarryDependencies {
  readonly view: () => QuorumView;
  readonly linkTo: (coordinator: Coordinator) => CoordinatorLink | undefined;
  /** Proposes what the register holds again, unchanged. */
  readonly repropose: (register: string, signal: AbortSignal) => Promise<Decision>;
}

/** Where a carry-over begins, and who is told of it. */
export interface CarryOptions {
  readonly signal: AbortSignal;
  /** `CarryProgress.after` of an earlier call in the same epoch. */
  readonly after?: string | null;
  readonly onProgress?: (progress: CarryProgress) => void;
}

/**
 * Proposes every register again, unchanged, in the present epoch. A majority of its coordinators names, page by page,
 * the registers it has accepted values of; having answered, it gives no vote of an earlier epoch any more. So
 * whatever was chosen before is named by at least one of them. A register is left alone only when a majority has
 * accepted it in this epoch, in whatever rounds: then every majority of the next epoch meets one of them. (That each of
 * those who named it has accepted it in this epoch is not enough: they may be too few.) So a carry-over that is
 * repeated costs what was left. Rejects with the signal's reason.
 */
export async function carryRegisters(dependencies: CarryDependencies, options: CarryOptions): Promise<CarryOutcome> {
  const { epoch } = dependencies.view();
  let progress: CarryProgress = { epoch, after: options.after ?? null, carried: 0 };
  for (;;) {
    options.signal.throwIfAborted();
    const view = dependencies.view();
    if (view.epoch !== epoch) return { kind: 'unavailable', reason: 'epoch', progress };
    const page = await nextPage(dependencies, view, progress.after);
    if (page === undefined) return { kind: 'unavailable', reason: 'no_majority', progress };
    for (let start = 0; start < page.registers.length; start += carriedAtOnceMax) {
      const batch = page.registers.slice(start, start + carriedAtOnceMax);
      const decisions = await Promise.all(batch.map((each) => dependencies.repropose(each, options.signal)));
      for (const decision of decisions) {
        if (decision.kind === 'unavailable') return { ...decision, progress };
      }
      progress = { epoch, after: batch.at(-1) ?? progress.after, carried: progress.carried + batch.length };
      options.onProgress?.(progress);
    }
    if (page.through === null) return { kind: 'complete', progress };
    progress = { ...progress, after: page.through };
  }
}

/** The registers to carry up to one name, which every one of those who answered has reached; null for the end. */
async function nextPage(
  { linkTo }: CarryDependencies,
  view: QuorumView,
  after: string | null,
): Promise<{ readonly registers: readonly string[]; readonly through: string | null } | undefined> {
  const asked = view.coordinators.map((each) => linkTo(each)?.list(view.epoch, after, listedMax));
  const pages = (await Promise.all(asked)).filter((page) => page !== undefined);
  const majority = majorityOf(view.coordinators.length);
  if (pages.length < majority) return undefined;
  let through: string | null = null;
  for (const page of pages) {
    if (page.through !== null && (through === null || page.through < through)) through = page.through;
  }
  const acceptedBy = new Map<string, number>();
  for (const [name, current] of pages.flatMap(({ registers }) => registers)) {
    acceptedBy.set(name, (acceptedBy.get(name) ?? 0) + (current ? 1 : 0));
  }
  const registers = [...acceptedBy]
    .filter(([name, count]) => count < majority && (through === null || name <= through))
    .map(([name]) => name);
  return { registers: registers.sort(), through };
}
