import type { BlobHash, PeerId, VersionId } from '../../crdt/ids.ts';
import { MemoryBlobStore } from '../../src/adapters/memory/blob-store.ts';
import { MemoryKv } from '../../src/adapters/memory/kv.ts';
import { versionKey } from '../../src/node/storage-keys.ts';
import type { MeshErrorCode } from '../../src/ports/mesh-error.ts';
import { rowsOf, versionIdOf } from './holdings.ts';
import type { Backup, Machine } from './machine.ts';
import { calmLinks } from './sim-links.ts';
import { SimulatedNodes } from './simulated-nodes.ts';
import { blobsOf, isContentIntact, isVersionIntact } from './soundness.ts';

const versionRoom = versionKey('a'.repeat(52) as VersionId)[0] as number;
const hourMs = 3_600_000;
/** Less than any delay of a link. */
const justAfterMs = 1e-6;

/** Nodes, and all that can go wrong with them, their disks and the links between them: one method a fault. */
export class FaultyMesh extends SimulatedNodes {
  readonly #clogged = new Set<string>();

  // --- the network ---

  /** Cuts every link between the groups. */
  partition(...groups: readonly (readonly string[])[]): void {
    this.#note('partition', groups.map((group) => `[${group}]`).join(' '));
    for (const [index, group] of groups.entries()) {
      for (const other of groups.slice(index + 1)) {
        this.hub.partition(
          group.map((name) => this.peer(name)),
          other.map((name) => this.peer(name)),
        );
      }
    }
  }

  /** What the one sends does not reach the other any more, until both notice that their link is dead. */
  cutOneWay(from: string, to: string): void {
    this.#note('cutOneWay', `${from} > ${to}`);
    this.hub.cutOneWay(this.peer(from), this.peer(to));
  }

  /** Keeps all that travels from the one to the other until `unclog`. */
  clog(from: string, to: string): void {
    this.#note('clog', `${from} > ${to}`);
    this.#clogged.add(`${from} ${to}`);
    this.hub.hold(this.peer(from), this.peer(to));
  }

  unclog(from: string, to: string): void {
    if (!this.#clogged.delete(`${from} ${to}`)) return;
    this.trace.note(`unclog ${from} > ${to}`);
    if (!this.get(to).paused) this.hub.release(this.peer(from), this.peer(to));
  }

  /** Breaks the connection between two nodes with what is on its way, in the middle of a message too. */
  dropConnection(a: string, b: string): void {
    this.#note('dropConnection', `${a} - ${b}`);
    this.hub.dropConnection(this.peer(a), this.peer(b));
  }

  /** Breaks the connection between two nodes right after the so-many-th piece of a stream from now on has arrived. */
  dropAfter(a: string, b: string, pieces: number): void {
    this.trace.note(`dropAfter ${pieces} pieces ${a} - ${b}`);
    this.links.countDown(this.peer(a), this.peer(b), pieces, (arrivalMs) => {
      this.clock.setTimer(arrivalMs + justAfterMs, () => {
        this.#note('dropAfter', `${a} - ${b}`);
        this.hub.dropConnection(this.peer(a), this.peer(b));
      });
    });
  }

  /** Ends every partition and one-way cut. */
  heal(): void {
    this.trace.note('heal');
    this.hub.heal();
  }

  // --- nodes ---

  /** A node stands still, as under a debugger or a sleeping laptop's lid. */
  pause(name: string): void {
    this.#note('pause', name);
    const machine = this.get(name);
    machine.paused = true;
    machine.clock.pause();
    for (const peer of this.#others(name)) this.hub.hold(peer, this.peer(name));
  }

  resume(name: string): void {
    const machine = this.get(name);
    if (!machine.paused) return;
    this.trace.note(`resume ${name}`);
    machine.paused = false;
    machine.resumedMs = this.clock.monotonicMs();
    machine.clock.resume();
    for (const member of this.members) {
      if (member.name !== name && !this.#clogged.has(`${member.name} ${name}`)) {
        this.hub.release(member.peerId, this.peer(name));
      }
    }
  }

  override crash(name: string): void {
    this.countFault('crash');
    this.resume(name);
    super.crash(name);
  }

  /** Sets nodes' wall clocks hours apart, before they start. */
  skewClocks(byMs: () => number): void {
    for (const name of this.machines.keys()) {
      const skewMs = byMs();
      this.#note('skewClock', `${name} by ${(skewMs / hourMs).toFixed(1)} h`);
      this.get(name).clock.jump(skewMs);
    }
  }

  /** Moves a node's wall clock, forwards or backwards. */
  jumpClock(name: string, byMs: number): void {
    this.#note('jumpClock', `${name} by ${(byMs / hourMs).toFixed(1)} h`);
    this.get(name).clock.jump(byMs);
  }

  /** Everything on a node, and on the way to and from it, takes so much longer; 0 ends it. */
  slowDown(name: string, lagMs: number): void {
    if (lagMs > 0) this.#note('slowDown', `${name} by ${lagMs.toFixed(0)} ms`);
    const machine = this.get(name);
    machine.clock.lag(lagMs / 10);
    machine.flushLagMs = lagMs;
    this.links.lag(this.peer(name), lagMs);
  }

  // --- disks ---

  /** The next transactions of a node fail, and its blob store cannot write either. */
  failWrites(name: string, code: Extract<MeshErrorCode, 'disk_full' | 'io_error'>, times: number): void {
    this.#note('failWrites', `${name} ${code} x${times}`);
    const machine = this.get(name);
    machine.kv.failTransactions(code, times);
    machine.blobs.failNext('put', code, times);
  }

  /** A flush of a node's blob store fails. */
  failFlush(name: string): void {
    this.#note('failFlush', name);
    this.get(name).blobs.failNext('flush', 'io_error', 1);
  }

  /** No blob fits any more, and no transaction either, until `freeDisk`. */
  fillDisk(name: string): void {
    this.#note('fillDisk', name);
    const machine = this.get(name);
    machine.hadFullDisk = true;
    machine.blobs.setCapacity(machine.blobs.usedBytes);
    machine.kv.failTransactions('disk_full', Number.MAX_SAFE_INTEGER);
  }

  /** The disk works, and has room. */
  freeDisk(name: string): void {
    const machine = this.get(name);
    machine.kv.clearFault();
    machine.blobs.clearFaults();
    machine.blobs.setCapacity(2 ** 40);
  }

  /** Flips a bit of a stored record of which another disk has a sound copy. False when there is none. */
  rotRecord(name: string): boolean {
    const machine = this.get(name);
    const random = this.random.split(`disk:rot:${name}:${this.faults.get('rotRecord') ?? 0}`);
    const ids = Array.from(rowsOf(machine.kv, versionRoom), ([key]) => versionIdOf(key));
    const id = ids[Math.floor(random.fraction() * ids.length)];
    if (id === undefined || !this.#otherDisks(machine).some((other) => isVersionIntact(other, id, 'durable')))
      return false;
    this.#note('rotRecord', `${name} ${id}`);
    return machine.kv.rot(versionKey(id), random);
  }

  /** Flips a bit of a stored chunk or manifest whose content another disk has sound. False when there is none. */
  rotBlob(name: string): boolean {
    const machine = this.get(name);
    const random = this.random.split(`disk:rot:${name}:${this.faults.get('rotBlob') ?? 0}`);
    const hashes = machine.blobs.hashes();
    const hash = hashes[Math.floor(random.fraction() * hashes.length)];
    if (hash === undefined) return false;
    const hit = this.#contentsWith(machine, hash);
    const isSafe = [...hit].every((manifest) =>
      this.#otherDisks(machine).some((other) => isContentIntact(other, manifest, 'durable')),
    );
    if (!isSafe || !machine.blobs.corrupt(hash, random)) return false;
    this.#note('rotBlob', `${name} ${hash}`);
    for (const manifest of hit) {
      machine.owedContents.delete(manifest);
      machine.spoiledContents.add(manifest);
    }
    return true;
  }

  /** Copies a node's data directory, as a backup does. */
  backUp(name: string): void {
    const machine = this.get(name);
    this.trace.note(`backUp ${name}`);
    machine.backups.push({
      kv: machine.kv.snapshot(),
      blobs: machine.blobs.snapshot(),
      takenMs: this.clock.monotonicMs(),
      ofStopped: machine.stoppedCleanly,
    });
  }

  /**
   * Puts an old backup back: the node's process ends, and the next start finds what was there then. `unnoticed` as
   * when a virtual machine's disk is rolled back: nothing about the directory tells.
   */
  restoreBackup(name: string, options: { readonly unnoticed?: boolean } = {}): boolean {
    const backup = this.get(name).backups.shift();
    if (backup === undefined) return false;
    this.#note(options.unnoticed ? 'rollBack' : 'restoreBackup', `${name} to ${backup.takenMs.toFixed(0)} ms`);
    this.#rollBack(name, backup, options);
    if (options.unnoticed && backup.ofStopped) this.get(name).rolledBackUnnoticed = true;
    return true;
  }

  /** Empties a node's data directory. */
  wipe(name: string): void {
    this.#note('wipe', name);
    const empty = { kv: new MemoryKv(this.clock).snapshot(), blobs: new MemoryBlobStore().snapshot() };
    this.#rollBack(name, empty, {});
  }

  /**
   * Copies a stopped node's directory, lets `live` happen on the copy, and then goes on with the original, as when
   * someone tries out a backup on another machine and returns to the first one.
   */
  async cloneDirectory(name: string, live: () => Promise<void>): Promise<void> {
    this.#note('cloneDirectory', name);
    const machine = this.get(name);
    const original = { kv: machine.kv, blobs: machine.blobs };
    this.replaceDisk(machine, () => {
      machine.kv = original.kv.clone();
      machine.blobs = original.blobs.clone();
    });
    await this.starting(name);
    await live();
    // Whatever still runs on the copy has no disk from now on.
    machine.kv.reopen();
    machine.blobs.reopen();
    this.#swapDisk(machine, original);
  }

  /** Ends every fault that lasts. Nodes that are down stay so. */
  endFaults(): void {
    this.heal();
    this.links.endCountdowns();
    for (const link of [...this.#clogged]) {
      const [from, to] = link.split(' ') as [string, string];
      this.unclog(from, to);
    }
    for (const name of this.machines.keys()) {
      this.resume(name);
      this.slowDown(name, 0);
      this.freeDisk(name);
    }
    this.links.profile = { ...this.links.profile, ...calmFaults };
  }

  #rollBack(name: string, backup: Pick<Backup, 'kv' | 'blobs'>, options: { readonly unnoticed?: boolean }): void {
    this.resume(name);
    const machine = this.get(name);
    this.#swapDisk(machine, { kv: machine.kv.restore(backup.kv, options), blobs: machine.blobs.restore(backup.blobs) });
  }

  /** Puts another disk in; what only the old one had is lost, and nobody's fault. */
  #swapDisk(machine: Machine, disk: { readonly kv: MemoryKv; readonly blobs: MemoryBlobStore }): void {
    const before = machine.holdings;
    this.replaceDisk(machine, () => {
      machine.kv = disk.kv;
      machine.blobs = disk.blobs;
    });
    const disks = [...this.machines.values()];
    for (const id of before.ids()) {
      if (!disks.some((other) => isVersionIntact(other, id, 'durable'))) {
        this.ledger.excusedVersions.add(id);
        this.#takeBackRot(id);
      }
      const manifest = this.library.get(id)?.version.record.content?.manifest;
      if (manifest === undefined || disks.some((other) => isContentIntact(other, manifest, 'durable'))) continue;
      this.ledger.excusedContents.add(manifest);
    }
  }

  /** Rot is drawn only where another disk has a sound copy. That disk is gone: what is left of the version is sound. */
  #takeBackRot(id: VersionId): void {
    const text = this.library.get(id)?.version.text;
    for (const machine of this.machines.values()) {
      if (text !== undefined && !isVersionIntact(machine, id, 'now'))
        machine.kv.mend(versionKey(id), Buffer.from(text));
    }
  }

  /** The contents held here that consist of this blob, among others. */
  #contentsWith(machine: Machine, hash: BlobHash): Set<BlobHash> {
    const manifests = new Set<BlobHash>();
    for (const id of machine.holdings.ids()) {
      const manifest = this.library.get(id)?.version.record.content?.manifest;
      if (manifest !== undefined && blobsOf(machine, manifest, 'now').includes(hash)) manifests.add(manifest);
    }
    return manifests;
  }

  #otherDisks(machine: Machine): Machine[] {
    return [...this.machines.values()].filter((other) => other !== machine);
  }

  #note(kind: string, what: string): void {
    this.countFault(kind);
    this.trace.note(`${kind} ${what}`);
  }

  #others(name: string): PeerId[] {
    return this.members.filter((member) => member.name !== name).map((member) => member.peerId);
  }
}

const { lost, duplicated, torn } = calmLinks;
const calmFaults = { lost, duplicated, torn, noticeMsMax: 50 };
