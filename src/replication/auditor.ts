import type { DocId, NodeId } from '../../crdt/ids.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import { MeshError } from '../ports/mesh-error.ts';
import type { Counter, Gauge, Metrics } from '../ports/metrics.ts';
import type { Random } from '../ports/random.ts';
import type { Absent, NodeLiveness } from './absences.ts';
import { sharesOf } from './audit-shares.ts';
import { copiesOf, repairViewOf } from './audit-view.ts';
import type { IndexFollower } from './index-follower.ts';
import type { PlacementDirectory } from './placement-directory.ts';
import { assess, isWanting, type PlannedPull, type RepairPlan, RepairPlanner, type RepairView } from './plan.ts';
import { QuietTime } from './quiet-time.ts';
import type { RepairProgress, RepairQueue } from './repair-queue.ts';
import type { CopyRecord, ReplicaIndex } from './replica-index.ts';
import { type CheckCounts, type SpotCheckDependencies, SpotChecks } from './spot-checks.ts';
import type { Subject } from './subject.ts';
import type { SubjectIndex } from './subject-index.ts';
import { LeftToWriters, leave, type WrittenVersions, writersAtWork } from './writers-at-work.ts';

/** Mean time between two audits; each is drawn from nine to eleven tenths of it. */
const auditEveryMsDefault = 60 * 60_000;
/** A node that has just started is given about so long to meet the others before its first audit. */
const firstAuditMs = 30_000;
/** Changes that come within so long are audited together. */
const gatherMs = 2_000;
/** After a plan, unasked audits rest for so many times as long as it took: planning keeps to a tenth of a node's time. */
const restShare = 9;
/** And for so long at least. */
const restMsMin = 1_000;
/** The most of a rest that an audit may leave to be added to the next one. */
const owedMsMax = 10_000;
/** How often it is looked whether disks are full. */
const capacityLookMs = 60_000;
/** How long an audit that waits leaves the one before it to its checks; one after repairs, which reports them, leaves it none. */
const patienceMs = 1_000;
/** Twice as long each time that checks were ended before they were done, up to this: slow disks get their turn too. */
const patienceMsMax = 16_000;
/** Of an audit whose checks go on. */
const noChecks: CheckCounts = { proved: 0, lacking: 0, wrong: 0, unreachable: 0 };

/**
 * Why an audit is made: the node has started, by the timer, on demand, because nodes went or came, because repairs are done,
 * because placement changed, or since disks are full, or were.
 */
export type AuditReason = 'start' | 'timer' | 'demand' | 'liveness' | 'repaired' | 'placement' | 'capacity';

/** What an audit found. */
export interface AuditReport {
  readonly reason: AuditReason;
  /** Milliseconds since the epoch, for display. */
  readonly startedMs: number;
  readonly tookMs: number;
  /** Of the slots that this coordinator audits. */
  readonly plan: RepairPlan;
  /** Copies on nodes that are online which counted as not there: their holders were caught without them, or never prove them. */
  readonly suspects: number;
  readonly checks: CheckCounts;
}

/** How far the audit that is under way has come. */
export interface AuditProgress {
  readonly reason: AuditReason;
  readonly phase: 'inventories' | 'plan' | 'checks';
  readonly subjects: number;
}

export interface AuditorStatus {
  /** False on a node that is no coordinator, and audits nothing. */
  readonly isAuditor: boolean;
  readonly running: AuditProgress | null;
  readonly last: AuditReport | null;
  readonly repairs: RepairProgress;
}

export interface AuditorDependencies {
  readonly index: ReplicaIndex;
  readonly follower: Pick<IndexFollower, 'refresh'>;
  readonly subjects: SubjectIndex;
  readonly written: WrittenVersions;
  readonly placement: PlacementDirectory;
  readonly repairs: RepairQueue;
  readonly liveness: NodeLiveness;
  readonly absent: () => Absent;
  /** Members whose disks have no room for more. */
  readonly full: () => ReadonlySet<NodeId>;
  readonly members: () => ReadonlySet<NodeId>;
  readonly coordinators: () => readonly NodeId[];
  readonly slotOf: (doc: DocId) => number;
  readonly checks: SpotCheckDependencies;
  /** Until when this node has been fetching contents, as `QuietTime` is told. */
  readonly fetchedUntilMs: () => number | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
}

/** What a walk over the subjects came to. */
interface Planned {
  readonly plan: RepairPlan;
  readonly nextMs: number | undefined;
  readonly suspects: number;
  /** Left to their writers, as far as they are remembered. */
  readonly left: Subject[];
}

export interface AuditorOptions {
  readonly self: NodeId;
  readonly auditEveryMs?: number | undefined;
}

/**
 * Compares what should be where with what is, and has it mended: on a timer, on demand, and whenever nodes go or come or
 * placement changes. A plan is made at once when a node goes offline; what it would have moved because of that waits for
 * the repair delay. Each slot is audited by the coordinator that rendezvous hashing names among those that are online;
 * where two disagree on that for a while, both order the same.
 */
export class ReplicationAuditor {
  readonly #dependencies: AuditorDependencies;
  readonly #self: NodeId;
  readonly #everyMs: number;
  readonly #audits: Counter;
  readonly #fullNodes: Gauge;
  readonly #stopping = new AbortController();
  readonly #quiet: QuietTime;
  readonly #left: LeftToWriters;
  #unsubscribe: () => void = () => undefined;
  #cancelTimer: (() => void) | undefined;
  #cancelGather: (() => void) | undefined;
  #cancelDelay: (() => void) | undefined;
  #cancelCapacity: (() => void) | undefined;
  #wasFull = false;
  /** Why an audit is to be made that nobody asked for, once the last plan is long enough ago. */
  #unasked: AuditReason | undefined;
  #cancelRest: (() => void) | undefined;
  #restUntilMs = Number.NEGATIVE_INFINITY;
  /** When the last plan was made. */
  #plannedMs = Number.NEGATIVE_INFINITY;
  /** Of that rest, what the audit that is made has not waited for: it is added to the next. */
  #owedMs = 0;
  #isPlanning = false;
  #running: Promise<AuditReport> | undefined;
  #next: { readonly reason: AuditReason; readonly result: Promise<AuditReport> } | undefined;
  /** Ends the checks that go on, and what does so once they have been waited for. */
  #checking: AbortController | undefined;
  /** They have not begun yet. */
  #isCheckPutOff = false;
  #cancelHurry: (() => void) | undefined;
  /** How long an audit that waits leaves the checks that go on. */
  #patienceMs = patienceMs;
  #progress: AuditProgress | null = null;
  #last: AuditReport | null = null;

  constructor(dependencies: AuditorDependencies, { self, auditEveryMs }: AuditorOptions) {
    this.#dependencies = dependencies;
    this.#self = self;
    this.#everyMs = auditEveryMs ?? auditEveryMsDefault;
    this.#quiet = new QuietTime(dependencies);
    this.#left = new LeftToWriters({
      ...dependencies,
      refresh: () => dependencies.follower.refresh(false),
      judge: () => {
        const view = this.#repairView(dependencies.absent(), dependencies.members(), false);
        return (subject) => isWanting(assess(view, subject).health);
      },
      onLate: () => this.#auditUnasked('liveness'),
    });
    this.#audits = dependencies.metrics.counter({
      name: 'anabranch_replication_audits_total',
      help: 'Audits of replication by this coordinator, by what caused them.',
      labels: ['reason'],
    });
    this.#fullNodes = dependencies.metrics.gauge({
      name: 'anabranch_replication_full_nodes',
      help: 'Nodes that had no room for more content at the last plan: what they lack is placed elsewhere.',
    });
  }

  start(): void {
    this.#unsubscribe = this.#dependencies.liveness.onChange(() => this.#auditSoon('liveness'));
    const { clock, random } = this.#dependencies;
    const firstMs = Math.min(firstAuditMs, this.#everyMs) * (0.9 + random.fraction() / 5);
    this.#cancelTimer = clock.setTimer(firstMs, () => {
      if (this.#last === null) this.#auditUnasked('start');
      this.#planTimer();
    });
    this.#watchCapacity();
  }

  async stop(): Promise<void> {
    this.#unsubscribe();
    this.#stopping.abort(new MeshError('shutting_down', 'the node is stopping'));
    this.#checking?.abort(this.#stopping.signal.reason);
    this.#cancelTimer?.();
    this.#cancelGather?.();
    this.#cancelDelay?.();
    this.#cancelCapacity?.();
    this.#cancelRest?.();
    await Promise.allSettled([this.#running, this.#next?.result, this.#left.stop()]);
  }

  /** Placement is not what it was. */
  placementChanged(): void {
    this.#auditSoon('placement');
  }

  /** A copy was found to be wanting beside the audits. */
  copyWanting(): void {
    this.#auditSoon('liveness');
  }

  /** Everything that was ordered is there: the report is to say so, within a second or two where plans are quick. */
  repaired(): void {
    this.#auditUnasked('repaired');
  }

  /**
   * Makes an audit and orders what it finds to be done. Never two at once: while one runs, those who ask are given the
   * next one, together. Rejects with `MeshError` `shutting_down`, and as the store does.
   */
  audit(reason: AuditReason): Promise<AuditReport> {
    if (this.#running === undefined) return this.#begin(reason);
    this.#hurry(reason);
    this.#next ??= {
      reason,
      result: this.#running
        .catch(() => undefined)
        .then(() => {
          this.#next = undefined;
          return this.#begin(reason);
        }),
    };
    return this.#next.result;
  }

  /** What would be ordered now, by what is known now; nothing is asked of anybody and nothing ordered. */
  async plan(): Promise<RepairPlan> {
    await this.#dependencies.subjects.catchUp(this.#stopping.signal);
    return (await this.#planAll({ isThorough: false, isWhole: true }, () => undefined)).plan;
  }

  /** What the last plan lists and is not done: what runs, and what would run if nodes stayed away. */
  *remaining(): Generator<PlannedPull> {
    const { repairs } = this.#dependencies;
    for (const pull of this.#last?.plan.pulls ?? []) if (pull.isWaiting || repairs.isPending(pull)) yield pull;
  }

  status(): AuditorStatus {
    return {
      isAuditor: this.#dependencies.coordinators().includes(this.#self),
      running: this.#progress,
      last: this.#last,
      repairs: this.#dependencies.repairs.progress(),
    };
  }

  #planTimer(): void {
    const { clock, random } = this.#dependencies;
    this.#cancelTimer = clock.setTimer(this.#everyMs * (0.9 + random.fraction() / 5), () => {
      this.#auditUnasked('timer');
      this.#planTimer();
    });
  }

  /** What is written for a full disk is placed elsewhere by a plan, and goes there once there is room: nothing else tells of either. */
  #watchCapacity(): void {
    this.#cancelCapacity = this.#dependencies.clock.setTimer(capacityLookMs, () => {
      const isFull = this.#dependencies.full().size > 0;
      if (isFull || this.#wasFull) this.#auditUnasked('capacity');
      this.#wasFull = isFull;
      this.#watchCapacity();
    });
  }

  #auditSoon(reason: AuditReason): void {
    if (this.#stopping.signal.aborted || this.#cancelGather !== undefined) return;
    this.#cancelGather = this.#dependencies.clock.setTimer(gatherMs, () => {
      this.#cancelGather = undefined;
      this.#auditUnasked(reason);
    });
  }

  #auditUnasked(reason: AuditReason): void {
    if (!this.#dependencies.coordinators().includes(this.#self)) return;
    // One by the timer looks at more than any other, so it takes the place of those that wait with it.
    if (this.#unasked !== 'timer') this.#unasked = reason;
    // It may have less to wait for than those that wait already.
    if (reason === 'repaired') this.#endRest();
    this.#auditRested();
  }

  /** Makes the audit that waits, unless a plan is being made or was made so lately that this is called again later. */
  #auditRested(): void {
    const reason = this.#unasked;
    if (reason === undefined || this.#isPlanning || this.#cancelRest !== undefined) return;
    if (this.#stopping.signal.aborted) return;
    const { clock } = this.#dependencies;
    const nowMs = clock.monotonicMs();
    const restMs = this.#dueMs(reason) - nowMs;
    if (restMs > 0) {
      this.#cancelRest = clock.setTimer(restMs, () => {
        this.#cancelRest = undefined;
        this.#auditRested();
      });
      return;
    }
    this.#owedMs = Math.max(0, this.#restUntilMs - nowMs);
    this.#unasked = undefined;
    this.audit(reason).catch((error: unknown) => {
      if (error instanceof MeshError && error.code === 'shutting_down') return;
      this.#dependencies.log.error('replication:audit_failed', { reason, error });
    });
  }

  /**
   * When an audit may be made that nobody asked for. The first after repairs says that all is well again, or what is not, and
   * takes its rest afterwards, where that is not long; those that follow one another wait.
   */
  #dueMs(reason: AuditReason): number {
    const isFirst = reason === 'repaired' && this.#last?.reason !== 'repaired';
    const soonMs = Math.max(this.#plannedMs + restMsMin, this.#restUntilMs - owedMsMax);
    return isFirst ? Math.min(this.#restUntilMs, soonMs) : this.#restUntilMs;
  }

  #endRest(): void {
    this.#cancelRest?.();
    this.#cancelRest = undefined;
  }

  /** Copies are looked at for as long as holders take to read, and who waits for an audit need not wait for that. */
  #hurry(reason: AuditReason): void {
    const checking = this.#checking;
    if (checking === undefined) return;
    const hurried = new Error('another audit waits');
    if (reason === 'repaired' || this.#isCheckPutOff) checking.abort(hurried);
    else this.#cancelHurry ??= this.#dependencies.clock.setTimer(this.#patienceMs, () => checking.abort(hurried));
  }

  /**
   * Makes the checks, until they are done or another audit has waited for them; what was not looked at is offered again. Those
   * that nobody asked for, and of which none is suspect, leave disks and processors to the contents that are being fetched: what has come just now was
   * verified as it came, and what it says of its holder is the more the longer it has been there.
   */
  async #check(spotChecks: SpotChecks, isAskedFor: boolean): Promise<CheckCounts> {
    const checking = new AbortController();
    this.#checking = checking;
    this.#isCheckPutOff = !isAskedFor && !this.#quiet.isHere;
    if (this.#next !== undefined) this.#hurry(this.#next.reason);
    try {
      if (!isAskedFor && !(await this.#quiet.come(checking.signal))) return noChecks;
      this.#isCheckPutOff = false;
      const counts = await spotChecks.run(checking.signal);
      this.#patienceMs = checking.signal.aborted ? Math.min(2 * this.#patienceMs, patienceMsMax) : patienceMs;
      return counts;
    } finally {
      this.#isCheckPutOff = false;
      this.#checking = undefined;
      this.#cancelHurry?.();
      this.#cancelHurry = undefined;
    }
  }

  #begin(reason: AuditReason): Promise<AuditReport> {
    this.#isPlanning = true;
    const running = this.#run(reason).finally(() => {
      this.#running = undefined;
      this.#progress = null;
      this.#isPlanning = false;
      // The next one, where there is one, has to plan first.
      if (this.#next === undefined) this.#auditRested();
    });
    this.#running = running;
    return running;
  }

  /** A plan is made: what waits to be audited is, after a rest. */
  #rest(plannedFromMs: number): void {
    const nowMs = this.#dependencies.clock.monotonicMs();
    this.#restUntilMs = nowMs + Math.max(restMsMin, restShare * (nowMs - plannedFromMs)) + this.#owedMs;
    this.#plannedMs = nowMs;
    this.#owedMs = 0;
    this.#isPlanning = false;
    this.#auditRested();
  }

  async #run(reason: AuditReason): Promise<AuditReport> {
    const { clock, follower, subjects, repairs, checks, log } = this.#dependencies;
    const startedAtMs = clock.monotonicMs();
    const startedMs = clock.nowMs();
    this.#audits.add(1, { reason });
    const isThorough = reason === 'timer' || reason === 'demand';
    this.#progress = { reason, phase: 'inventories', subjects: 0 };
    await follower.refresh(isThorough);
    const plannedFromMs = clock.monotonicMs();
    await subjects.catchUp(this.#stopping.signal);
    const spotChecks = new SpotChecks(checks);
    const { plan, nextMs, suspects, left } = await this.#planAll(
      { isThorough, isWhole: isThorough },
      (subject, copies, seen) => {
        this.#progress = { reason, phase: 'plan', subjects: seen };
        // What has gone or come says nothing of copies that were proved: of those only a thorough audit draws some.
        spotChecks.offer(subject, copies, isThorough);
      },
    );
    // A stop after the last page was seen by nobody yet.
    this.#stopping.signal.throwIfAborted();
    repairs.replace(plan.pulls);
    this.#left.replace(left);
    this.#rest(plannedFromMs);
    this.#planDelay(nextMs);
    this.#progress = { reason, phase: 'checks', subjects: plan.totals.subjects };
    // What stands where is known now; the checks go on for as long as the holders take to read.
    const reportOf = (counts: CheckCounts): AuditReport => {
      return { reason, startedMs, tookMs: clock.monotonicMs() - startedAtMs, plan, suspects, checks: counts };
    };
    this.#last = reportOf(noChecks);
    // Making copies comes before looking at those there are; the audit after the repairs looks at all of them. Whoever is
    // suspect is looked at all the same: it may have what it is asked to fetch, and is not believed to.
    const hasToRepair = !isThorough && suspects === 0 && plan.pulls.some(({ isWaiting }) => !isWaiting);
    const counts = hasToRepair ? noChecks : await this.#check(spotChecks, isThorough || suspects > 0);
    const report = reportOf(counts);
    this.#last = report;
    const level = plan.totals.subjects === 0 ? 'debug' : 'info';
    log[level]('replication:audited', { reason, tookMs: Math.round(report.tookMs), ...plan.totals, checks: counts });
    // Copies that were found wanting are planned around at once, and those that are there after all are counted. One that
    // counted as wanting before is planned around already.
    if (spotChecks.caught + spotChecks.cleared > 0) this.#auditSoon('liveness');
    return report;
  }

  /** Those who are away count as gone when the delay is over, and not by any event. */
  #planDelay(nextMs: number | undefined): void {
    this.#cancelDelay?.();
    if (nextMs === undefined || this.#stopping.signal.aborted) return;
    this.#cancelDelay = this.#dependencies.clock.setTimer(nextMs, () => this.#auditUnasked('liveness'));
  }

  /**
   * Shows the copies of what this coordinator audits; when it is thorough, also those of others' slots that it suspects. Unless
   * it is whole, what writers are copying is left to them.
   */
  async #planAll(
    { isThorough, isWhole }: { readonly isThorough: boolean; readonly isWhole: boolean },
    see: (subject: Subject, copies: readonly CopyRecord[], seen: number) => void,
  ): Promise<Planned> {
    const { subjects } = this.#dependencies;
    const absent = this.#dependencies.absent();
    const { gone, away, nextMs } = absent;
    const members = this.#dependencies.members();
    const view = this.#repairView(absent, members, isWhole);
    const left: Subject[] = [];
    const isMine = sharesOf(this.#dependencies, absent, this.#self);
    const planner = new RepairPlanner(view);
    let seen = 0;
    let suspects = 0;
    for await (const page of subjects.walk()) {
      this.#stopping.signal.throwIfAborted();
      for (const subject of page) {
        const isAudited = isMine(subject.doc);
        if (!isAudited && !isThorough) continue;
        const isThere = ({ nodeId }: CopyRecord): boolean => !gone.has(nodeId) && !away.has(nodeId);
        const others = copiesOf(this.#dependencies.index, members, subject.manifest).filter(
          (copy) => isThere(copy) && copy.nodeId !== this.#self,
        );
        if (isAudited) {
          if (!planner.add(subject)) {
            leave(left, subject);
            continue;
          }
          seen += 1;
          for (const { isSuspect } of others) if (isSuspect) suspects += 1;
        }
        // Another coordinator's slot, suspected when it was this one's or by a write here: nobody else can clear it.
        if (isAudited || others.some(({ isSuspect }) => isSuspect)) see(subject, others, seen);
      }
    }
    return { plan: planner.plan(), nextMs, suspects, left };
  }

  #repairView(absent: Absent, members: ReadonlySet<NodeId>, isWhole: boolean): RepairView {
    const isUnderWay = isWhole ? undefined : writersAtWork(this.#dependencies, members, absent);
    return repairViewOf(this.#dependencies, { absent, members, full: this.#full(), isUnderWay, self: this.#self });
  }

  /** What full disks have no room for is planned elsewhere, and somebody should know. */
  #full(): ReadonlySet<NodeId> {
    const full = this.#dependencies.full();
    this.#fullNodes.set(full.size);
    if (full.size > 0) this.#dependencies.log.warn('replication:nodes_full', { nodes: [...full] });
    return full;
  }
}
