import type { Role } from '../../crdt/control/member.ts';
import type { Draw } from './draw.ts';
import { type PlacementFault, placementFaults } from './placement-faults.ts';
import type { Simulation } from './simulation.ts';

type NetworkFault = 'partition' | 'heal' | 'cutOneWay' | 'clog' | 'dropConnection' | 'dropAfter';
type NodeFault = 'crash' | 'stayAway' | 'stop' | 'pause' | 'jumpClock' | 'slowDown';
type DiskFault =
  | 'failWrites'
  | 'failFlush'
  | 'fillDisk'
  | 'rotRecord'
  | 'rotBlob'
  | 'backUp'
  | 'restoreBackup'
  | 'rollBack'
  | 'wipe'
  | 'loseDisk'
  | 'cloneDirectory';
type ClusterFault = 'changeRoles' | 'changeSettings' | PlacementFault;
type FaultName = NetworkFault | NodeFault | DiskFault | ClusterFault;

export type FaultMix = Readonly<Partial<Record<FaultName, number>>>;

export const allFaults: FaultMix = {
  partition: 10,
  heal: 8,
  cutOneWay: 4,
  clog: 5,
  dropConnection: 8,
  dropAfter: 8,
  crash: 10,
  stop: 5,
  pause: 5,
  jumpClock: 4,
  slowDown: 4,
  failWrites: 5,
  failFlush: 2,
  fillDisk: 3,
  rotRecord: 2,
  rotBlob: 3,
  backUp: 6,
  restoreBackup: 4,
  rollBack: 4,
  wipe: 1,
  cloneDirectory: 1,
};

/** Draws faults and lets them happen; what lasts ends by itself after a drawn while, or when the run heals. */
export class FaultSchedule {
  readonly #sim: Simulation;
  readonly #draw: Draw;
  readonly #mix: FaultMix;
  /** What is to happen later: the end of a fault, the restart of a node. */
  readonly #later: { readonly atMs: number; readonly act: () => void }[] = [];
  #busy = 0;

  constructor(sim: Simulation, draw: Draw, mix: FaultMix = allFaults) {
    this.#sim = sim;
    this.#draw = draw;
    // Each run has a character of its own: some faults often, some never.
    this.#mix = Object.fromEntries(
      Object.entries(mix).map(([name, weight]) => [name, draw.chance(0.25) ? 0 : weight * draw.between(0.2, 2)]),
    );
  }

  /** Nothing is half done: no node is starting, stopping or lent out. */
  get isIdle(): boolean {
    return this.#busy === 0;
  }

  /** Lets whatever is due by now happen. */
  catchUp(): void {
    const nowMs = this.#sim.clock.monotonicMs();
    const due = this.#later.filter((later) => later.atMs <= nowMs);
    for (const later of due) {
      this.#later.splice(this.#later.indexOf(later), 1);
      later.act();
    }
  }

  /** One more fault. */
  step(): void {
    const up = this.#sim.up();
    if (up.length === 0 || Object.values(this.#mix).every((weight) => weight === 0)) return;
    const fault = this.#draw.weighted<FaultName>(this.#mix);
    this.#injections(this.#draw.pick(up))[fault]();
  }

  /** Starts every node that is down; what fails is tried again a little later. */
  startAll(): void {
    this.#later.length = 0;
    for (const machine of this.#sim.machines.values()) if (machine.process === undefined) this.#start(machine.name);
  }

  /** What each fault does to the node that was drawn. */
  #injections(name: string): Readonly<Record<FaultName, () => void>> {
    return {
      ...this.#networkFaults(name),
      ...this.#nodeFaults(name),
      ...this.#diskFaults(name),
      ...placementFaults(this.#sim, this.#draw, name),
      changeRoles: () => this.#changeRoles(name),
      changeSettings: () => this.#changeSettings(name),
    };
  }

  /** An operator makes some node a coordinator or has it step down; what can be refused may be. */
  #changeRoles(through: string): void {
    const node = this.#sim.node(through);
    const { nodeId, name, roles } = this.#draw.pick(node.nodes());
    const next: readonly Role[] = roles.includes('coordinator') ? ['storage'] : ['coordinator', 'storage'];
    this.#sim.countFault('changeRoles');
    this.#sim.trace.note(`changeRoles of ${name} to ${next} through ${through}`);
    const operation = { type: 'roles', nodeId, roles: next } as const;
    this.#sim.change(through, operation).then(
      (outcome) => this.#sim.trace.note(`changeRoles of ${name}: ${outcome.ok ? 'done' : outcome.error.code}`),
      (error: unknown) => this.#sim.trace.note(`changeRoles of ${name}: ${String(error)}`),
    );
  }

  /** An operator changes something that no node acts on: only the control log has more to do. */
  #changeSettings(through: string): void {
    const values = { value: this.#draw.integer(1, 1_000) };
    this.#sim.countFault('changeSettings');
    this.#sim.trace.note(`changeSettings to ${values.value} through ${through}`);
    this.#sim.change(through, { type: 'configuration', scope: 'simulated', values }).then(
      (outcome) => this.#sim.trace.note(`changeSettings: ${outcome.ok ? 'done' : outcome.error.code}`),
      (error: unknown) => this.#sim.trace.note(`changeSettings: ${String(error)}`),
    );
  }

  #networkFaults(name: string): Readonly<Record<NetworkFault, () => void>> {
    const sim = this.#sim;
    const draw = this.#draw;
    const names = [...sim.machines.keys()];
    const other = draw.pick(names.filter((candidate) => candidate !== name));
    return {
      partition: () => {
        const side = draw.part(names);
        const rest = names.filter((candidate) => !side.includes(candidate));
        sim.partition(side, rest);
      },
      heal: () => sim.heal(),
      cutOneWay: () => sim.cutOneWay(name, other),
      clog: () => {
        sim.clog(name, other);
        this.#after(draw.between(100, 8_000), () => sim.unclog(name, other));
      },
      dropConnection: () => sim.dropConnection(name, other),
      dropAfter: () => sim.dropAfter(name, other, draw.integer(1, 40)),
    };
  }

  #nodeFaults(name: string): Readonly<Record<NodeFault, () => void>> {
    const sim = this.#sim;
    const draw = this.#draw;
    return {
      crash: () => {
        sim.crash(name);
        this.#startLater(name);
      },
      stayAway: () => {
        sim.crash(name);
        this.#after(draw.between(12_000, 90_000), () => this.#start(name));
      },
      stop: () => {
        // A backup of a stopped node has the clean-stop marker in it: rolled back to that, it can notice nothing.
        const isBackedUp = draw.chance(0.4);
        this.#stop(name, () => {
          if (isBackedUp) sim.backUp(name);
          this.#startLater(name);
        });
      },
      pause: () => {
        sim.pause(name);
        this.#after(draw.between(50, 20_000), () => sim.resume(name));
      },
      jumpClock: () => sim.jumpClock(name, draw.between(-72, 72) * 3_600_000),
      slowDown: () => {
        sim.slowDown(name, draw.between(20, 800));
        this.#after(draw.between(1_000, 15_000), () => sim.slowDown(name, 0));
      },
    };
  }

  #diskFaults(name: string): Readonly<Record<DiskFault, () => void>> {
    const sim = this.#sim;
    const draw = this.#draw;
    return {
      failWrites: () => sim.failWrites(name, draw.pick(['disk_full', 'io_error']), draw.integer(1, 4)),
      failFlush: () => sim.failFlush(name),
      fillDisk: () => {
        sim.fillDisk(name);
        this.#after(draw.between(200, 10_000), () => sim.freeDisk(name));
      },
      rotRecord: () => sim.rotRecord(name),
      rotBlob: () => sim.rotBlob(name),
      backUp: () => sim.backUp(name),
      restoreBackup: () => this.#restore({ unnoticed: false }),
      rollBack: () => this.#restore({ unnoticed: true }),
      wipe: () => {
        sim.wipe(name);
        this.#startLater(name);
      },
      loseDisk: () => {
        // Coordinators that forget are for other scenarios: without a majority of them no log says what is placed where.
        const up = sim.up().filter((each) => sim.member(each).roles?.includes('coordinator') !== true);
        if (up.length === 0) return;
        const victim = draw.pick(up);
        sim.wipe(victim);
        this.#after(draw.between(15_000, 60_000), () => this.#start(victim));
      },
      cloneDirectory: () => this.#stop(name, () => this.#lend(name)),
    };
  }

  #restore(options: { readonly unnoticed: boolean }): void {
    const backedUp = this.#sim.up().filter((name) => this.#sim.get(name).backups.length > 0);
    if (backedUp.length === 0) return;
    const victim = this.#draw.pick(backedUp);
    this.#sim.restoreBackup(victim, options);
    this.#startLater(victim);
  }

  #lend(name: string): void {
    const lent = this.#sim.cloneDirectory(name, () => this.#sim.clock.sleep(this.#draw.between(100, 5_000)));
    this.#track(name, lent, () => this.#startLater(name));
  }

  #stop(name: string, then: () => void): void {
    this.#sim.countFault('stop');
    this.#track(name, this.#sim.stopping(name), then);
  }

  #startLater(name: string): void {
    this.#after(this.#draw.between(10, 8_000), () => this.#start(name));
  }

  #start(name: string): void {
    if (this.#sim.get(name).process !== undefined) return;
    this.#track(name, this.#sim.starting(name), () => undefined);
  }

  /** A start or stop that a broken disk makes fail ends the process, as it does for an operator; it is tried again. */
  #track(name: string, work: Promise<void>, then: () => void): void {
    this.#busy += 1;
    work
      .then(then, (error: unknown) => {
        this.#sim.trace.note(`${name} failed: ${error instanceof Error ? error.message : String(error)}`);
        if (this.#sim.get(name).process !== undefined) this.#sim.crash(name);
        this.#startLater(name);
      })
      .finally(() => {
        this.#busy -= 1;
      });
  }

  #after(delayMs: number, act: () => void): void {
    this.#later.push({ atMs: this.#sim.clock.monotonicMs() + delayMs, act });
  }
}
