import { encodeCanonical } from '../../crdt/canonical-json.ts';
import { blake3, blobHashOf, rawHash, toHex } from '../../crdt/digest.ts';
import { fingerprintBytes } from '../../crdt/fingerprint-tree.ts';
import type { Actor, VersionId } from '../../crdt/ids.ts';
import { slotOf } from '../../crdt/object-document.ts';
import { type Signer, signerFromSeed } from '../../crdt/signature.ts';
import { draftVersion, signVersion, type Version, type VersionFields } from '../../crdt/version.ts';
import { AnswerPacker } from '../../protocols/blobs/answers.ts';
import { blobsProtocol } from '../../protocols/blobs/limits.ts';
import { certificateHint, encodeGossip, gossipTopic, hintOf } from '../../protocols/gossip/messages.ts';
import { heartbeatTopic } from '../../protocols/membership/heartbeat.ts';
import { descriptorTopic } from '../../protocols/membership/messages.ts';
import { replicasProtocol } from '../../protocols/replicas/limits.ts';
import { serveReplicas } from '../../protocols/replicas/server.ts';
import {
  decodeSyncRequest,
  encodeSyncMessage,
  type SyncRequest,
  type SyncResponse,
  syncProtocol,
} from '../../protocols/sync/messages.ts';
import { Channel } from '../../protocols/wire/channel.ts';
import type { PackedAnswer } from '../../protocols/wire/item-sets.ts';
import type { MemoryNetwork } from '../../src/adapters/memory/network.ts';
import type { ByteStream } from '../../src/ports/network.ts';
import { Draw } from './draw.ts';
import { forgedCertificate } from './forged-certificate.ts';
import { lyingHolder } from './lying-holder.ts';
import { MachineClock, type ProcessClock } from './machine-clock.ts';
import { nonsense, protocols } from './nonsense.ts';
import { namespace, type Simulation } from './simulation.ts';
import type { KnownVersion } from './version-library.ts';

const slots = 16;
const heardMax = 50;
/** Longer than any deadline of a peer. */
const silenceMs = 600_000;
/** Bytes of a range's summary on the wire: a count and a fingerprint. */
const summaryBytes = 4 + fingerprintBytes;

interface Message {
  readonly topic: string;
  readonly data: Uint8Array;
}

/** What it does by itself; lies are answers. */
type Attack =
  | 'junk'
  | 'truncate'
  | 'mutate'
  | 'replay'
  | 'oversize'
  | 'lie'
  | 'forge'
  | 'contradict'
  | 'open'
  | 'certify'
  | 'invent';

/**
 * A member that holds a key and keeps no rule: it sends forged, replayed, truncated, oversized and contradictory
 * messages, opens streams of every protocol to send what is none of it, answers questions with lies, and serves wrong bytes. What it signs properly is a version like any other.
 */
export class HostilePeer {
  readonly #sim: Simulation;
  readonly #name: string;
  readonly #signer: Signer;
  readonly #draw: Draw;
  readonly #network: MemoryNetwork;
  readonly #clock: ProcessClock;
  readonly #heard: Message[] = [];
  /** Messages of the sync protocol that others sent, requests and answers alike, to be sent again later. */
  readonly #frames: Uint8Array[] = [];
  #counter = 0;

  constructor(sim: Simulation, name: string) {
    this.#sim = sim;
    this.#name = name;
    this.#signer = signerFromSeed(sim.keySeed(name));
    this.#draw = new Draw(sim.random.split(`hostile:${name}`));
    this.#network = sim.hub.join(sim.peer(name));
    this.#clock = new MachineClock(sim.clock).startProcess();
  }

  async join(): Promise<void> {
    this.#network.handle(syncProtocol, (stream) => this.#answerSync(stream));
    this.#network.handle(blobsProtocol, (stream) => this.#answerBlobs(stream));
    const onLie = (kind: string): void => this.#count(`lie:${kind}`);
    const liar = lyingHolder({ draw: this.#draw, library: this.#sim.library, onLie });
    this.#network.handle(replicasProtocol, (stream) => serveReplicas(stream, liar, { clock: this.#clock }));
    const { cluster } = this.#sim;
    const topics = Array.from({ length: slots }, (_, slot) => gossipTopic(cluster, slot));
    for (const topic of [...topics, descriptorTopic(cluster), heartbeatTopic(cluster)]) {
      this.#network.subscribe(topic, (data) => {
        this.#heard.push({ topic, data });
        if (this.#heard.length > heardMax) this.#heard.shift();
        return this.#draw.chance(0.5) ? 'accept' : 'ignore';
      });
    }
    await this.#network.start();
  }

  async leave(): Promise<void> {
    this.#clock.kill();
    await this.#network.stop();
  }

  /** One more attack on whoever is connected. */
  act(): void {
    const attack = this.#draw.weighted<Attack>({
      junk: 2,
      truncate: 2,
      mutate: 3,
      replay: 3,
      oversize: 1,
      lie: 5,
      forge: 3,
      contradict: 2,
      open: 5,
      certify: 2,
      invent: 1,
    });
    this.#sim.trace.note(`${this.#name} attacks: ${attack}`);
    const carriedOut = attack === 'open' ? this.#openStream() : this.#publish(this.#messages(attack));
    carriedOut.then(
      (isHeard) => isHeard && this.#count(attack),
      () => undefined,
    );
  }

  /** Whether anybody was sent any of the messages. */
  async #publish(messages: readonly Message[]): Promise<boolean> {
    const recipients = await Promise.all(messages.map(({ topic, data }) => this.#network.publish(topic, data)));
    return recipients.some((count) => count > 0);
  }

  /** Only what reached somebody is an attack. */
  #count(attack: string): void {
    this.#sim.countFault(`hostile:${attack}`);
  }

  #messages(attack: Exclude<Attack, 'open'>): Message[] {
    const { topic, data } = this.#heard.length === 0 ? this.#junk() : this.#draw.pick(this.#heard);
    switch (attack) {
      case 'junk':
        return [{ topic, data: this.#draw.random.bytes(this.#draw.integer(0, 2_000)) }];
      case 'truncate':
        return [{ topic, data: data.slice(0, this.#draw.integer(0, data.length - 1)) }];
      case 'mutate':
        return [{ topic, data: this.#mutated(data) }];
      case 'replay':
        return [this.#replayed()];
      case 'oversize':
        return [{ topic, data: this.#draw.random.bytes(100_000) }];
      case 'lie':
        return this.#hint(this.#lie());
      case 'forge':
        return this.#hint(this.#forgery());
      case 'contradict':
        return this.#contradiction();
      case 'certify':
        return this.#certified(this.#someVersion());
      case 'invent':
        return this.#hint(this.#sound(this.#someVersion()));
    }
  }

  /** One of the oldest that it knows, since the others remember those that came of late; often where it was said. */
  #replayed(): Message {
    const oldest = this.#heard.slice(0, Math.ceil(this.#heard.length / 4));
    const { topic, data } = oldest.length === 0 ? this.#junk() : this.#draw.pick(oldest);
    return { topic: this.#draw.chance(0.5) ? topic : this.#someTopic(), data };
  }

  #junk(): Message {
    return { topic: this.#someTopic(), data: this.#draw.random.bytes(100) };
  }

  #someTopic(): string {
    return gossipTopic(this.#sim.cluster, this.#draw.integer(0, slots - 1));
  }

  /** A record by this member that says something untrue about its ancestors. */
  #lie(): Version {
    const parent = this.#someVersion();
    const sound = this.#sound(parent);
    const { record } = sound;
    const changes: readonly object[] = [
      { generation: record.generation + this.#draw.integer(1, 5) },
      { generation: Math.max(1, record.generation - 1), parents: record.parents },
      { context: { ...record.context, [record.dot.actor]: 7 }, dot: { ...record.dot, counter: 9 } },
      { context: {} },
      { parents: [...record.parents, 'a'.repeat(52)].sort(), kind: 'merge' },
      { dot: { ...record.dot, counter: 0 } },
      { log: { seq: 0, hash: 'a'.repeat(52) } },
      { log: { seq: 3, hash: 'a'.repeat(52) } },
    ];
    return this.#sign({ ...record, ...this.#draw.pick(changes) });
  }

  /** A record in the name of a node whose key this member does not have. */
  #forgery(): Version {
    const { record } = this.#sound(this.#someVersion());
    const other = this.#draw.pick([...this.#sim.machines.values()]).member;
    return this.#sign({
      ...record,
      node: other.nodeId,
      dot: { ...record.dot, actor: `${other.nodeId}.${'a'.repeat(13)}` as Actor },
    });
  }

  /** A certificate that nobody gave, for a version that is there. */
  #certified(known: KnownVersion | undefined): Message[] {
    if (known === undefined) return [];
    const { doc, version } = known;
    const data = encodeGossip([certificateHint(doc, version.id, this.#forgedCertificate(known))]);
    return [{ topic: gossipTopic(this.#sim.cluster, slotOf(doc, slots)), data }];
  }

  #forgedCertificate(known: KnownVersion): string {
    const { cluster, machines } = this.#sim;
    const named = [...machines.values()].map(({ member }) => member.nodeId).slice(0, this.#draw.integer(1, 3));
    return forgedCertificate(this.#draw, known, { cluster, signer: this.#signer, named });
  }

  /** Two sound records under one dot. */
  #contradiction(): Message[] {
    const parent = this.#someVersion();
    const one = this.#sound(parent);
    this.#counter -= 1;
    const other = this.#sound(parent);
    return [...this.#hint(one), ...this.#hint(other)];
  }

  #someVersion(): KnownVersion | undefined {
    const known = [...this.#sim.library.all()];
    return known.length === 0 ? undefined : this.#draw.pick(known);
  }

  /** A record that is in order, on top of a version the mesh knows; its content may exist nowhere. */
  #sound(parent: KnownVersion | undefined): Version {
    this.#counter += 1;
    const { nodeId } = this.#sim.member(this.#name);
    const bytes = this.#draw.random.bytes(20);
    const content = { manifest: blobHashOf(bytes), size: 20, b3: toHex(blake3(bytes)) };
    const isDelete = this.#draw.chance(0.5);
    if (!isDelete) this.#sim.ledger.excusedContents.add(content.manifest);
    const fields: VersionFields = {
      ns: namespace,
      key: parent?.version.record.key ?? 'key-1',
      kind: isDelete ? 'delete' : 'put',
      dot: { actor: `${nodeId}.${'b'.repeat(12)}a` as Actor, counter: this.#counter },
      content: isDelete ? null : content,
      type: isDelete ? '' : 'text/plain',
      meta: {},
      author: this.#name,
      node: nodeId,
      time: this.#draw.integer(0, 2 ** 40),
      log: { seq: 0, hash: this.#sim.cluster },
    };
    const draft = draftVersion(parent === undefined ? [] : [parent.version], fields);
    if (!draft.ok) throw new Error(`${this.#name} cannot write: ${draft.error.message}`);
    return signVersion(draft.value, this.#signer, this.#sim.cluster);
  }

  #sign(record: object): Version {
    const { sig: _, ...unsigned } = record as Version['record'];
    const draft = { record: unsigned, text: encodeCanonical(unsigned), context: new Map() };
    return signVersion(draft, this.#signer, this.#sim.cluster);
  }

  #hint(...versions: readonly Version[]): Message[] {
    return versions.map((version) => {
      const doc = this.#sim.documentOf(version.record.key);
      const heads = this.#draw.chance(0.3) ? ['c'.repeat(52).replace(/c$/, 'a') as VersionId] : [version.id];
      return {
        topic: gossipTopic(this.#sim.cluster, slotOf(doc, slots)),
        data: encodeGossip([hintOf(doc, heads, [Buffer.from(version.text)])]),
      };
    });
  }

  #mutated(data: Uint8Array): Uint8Array {
    const copy = data.slice();
    for (let left = this.#draw.integer(1, 4); left > 0; left -= 1) {
      copy[this.#draw.integer(0, Math.max(0, copy.length - 1))] = this.#draw.integer(0, 255);
    }
    return copy;
  }

  /** Opens a stream and sends bytes that are no frames, half a frame, a huge one, or requests without sense. */
  async #openStream(): Promise<boolean> {
    const peers = this.#network.connectedPeers();
    if (peers.length === 0) return false;
    const protocol = this.#draw.pick(protocols);
    const stream = await this.#network.open(this.#draw.pick(peers), protocol);
    this.#count(`open:${protocol.split('/')[2]}`);
    this.#abuse(stream, protocol).catch(() => undefined);
    return true;
  }

  async #abuse(stream: ByteStream, protocol: (typeof protocols)[number]): Promise<void> {
    const attack = this.#draw.integer(0, 3);
    if (attack === 0) await stream.write(this.#draw.random.bytes(this.#draw.integer(1, 300)));
    else if (attack === 1) await stream.write(Uint8Array.of(0xff, 0xff, 0xff, 0xff, 1));
    else await this.#askNonsense(stream, attack === 2 ? protocol : undefined);
    if (this.#draw.chance(0.5)) stream.reset(new Error('no more of this'));
    else await stream.end();
  }

  /** A request of the protocol that is named, or bytes that are none. */
  async #askNonsense(stream: ByteStream, protocol: (typeof protocols)[number] | undefined): Promise<void> {
    const channel = new Channel(stream, { clock: this.#clock });
    const onAskedFor = (version: VersionId): void => void this.#sim.askedForByHostile.add(version);
    const request =
      protocol === undefined
        ? this.#draw.random.bytes(64)
        : nonsense(this.#draw, protocol, this.#someVersion(), onAskedFor);
    await channel.send(request);
    const answer = await channel.receive();
    if (protocol === syncProtocol) this.#keep(answer);
    channel.reset(new Error('enough'));
  }

  /** Answers whatever it is asked with something that is not the answer. */
  async #answerSync(stream: ByteStream): Promise<void> {
    const channel = new Channel(stream, { clock: this.#clock });
    for (let request = await channel.receive(); request !== null; request = await channel.receive()) {
      this.#keep(request);
      for (const answer of this.#syncAnswers(request)) await channel.send(answer);
      if (await this.#stopsHalfWay(channel)) return;
    }
    await channel.end();
  }

  /** Now and then it breaks off, or says nothing more for longer than anyone waits. */
  async #stopsHalfWay(channel: Channel): Promise<boolean> {
    if (this.#draw.chance(0.05)) {
      this.#count('silence');
      await this.#clock.sleep(silenceMs);
    } else if (!this.#draw.chance(0.2)) return false;
    else this.#count('breakOff');
    channel.reset(new Error('no more of this'));
    return true;
  }

  #keep(frame: Uint8Array | null): void {
    if (frame === null) return;
    this.#frames.push(frame.slice());
    if (this.#frames.length > heardMax) this.#frames.shift();
  }

  /** Mostly an answer of the right kind that is untrue, since others are refused at once. */
  #syncAnswers(request: Uint8Array): Uint8Array[] {
    const draw = this.#draw;
    if (draw.chance(0.15)) return [draw.random.bytes(draw.integer(1, 500))];
    if (draw.chance(0.15) && this.#frames.length > 0) {
      this.#count('replayFrame');
      return [draw.pick(this.#frames)];
    }
    const asked = decodeSyncRequest(request);
    const answers = (asked.ok ? this.#lies(asked.value) : []).map(encodeSyncMessage);
    return draw.chance(0.15) ? answers.map((answer) => this.#mutated(answer)) : answers;
  }

  #lies(request: SyncRequest): SyncResponse[] {
    const draw = this.#draw;
    const random = (count: number): Uint8Array => draw.random.bytes(count);
    this.#count(`lie:${request.t}`);
    switch (request.t) {
      case 'feed': {
        const last = draw.integer(0, 20);
        const entries = draw.chance(0.3) ? null : random(64 * draw.integer(0, 4));
        return [
          { t: 'feed', feed: draw.pick(['a', request.feed ?? 'b']), last, through: draw.integer(0, last), entries },
        ];
      }
      case 'ranges': {
        const answers = request.ranges.map((): PackedAnswer => {
          if (draw.chance(0.3)) return draw.pick([0, 1]);
          if (draw.chance(0.5)) return { items: random(64 * draw.integer(0, 4)) };
          return { split: random(16 * summaryBytes) };
        });
        return [{ t: 'ranges', answers }];
      }
      default: {
        const versions = [this.#lie(), this.#forgery(), this.#sound(this.#someVersion())];
        const texts = draw.shuffled(versions.map((version) => Buffer.from(version.text)));
        const known = draw.chance(0.3) ? this.#someVersion() : undefined;
        const certificates: SyncResponse[] =
          known === undefined ? [] : [{ t: 'certificates', texts: [this.#forgedCertificate(known)] }];
        const done: SyncResponse = { t: 'done', more: draw.chance(0.3) };
        return [{ t: 'records', texts: texts.slice(0, draw.integer(0, 3)) }, ...certificates, done];
      }
    }
  }

  /** Serves bytes that are not those that were asked for, or claims to have nothing. */
  async #answerBlobs(stream: ByteStream): Promise<void> {
    const channel = new Channel(stream, { clock: this.#clock });
    const packer = new AnswerPacker((message) => channel.send(message));
    for (let want = await channel.receive(); want !== null; want = await channel.receive()) {
      for (let left = Math.floor(want.length / rawHash('a'.repeat(52)).length); left > 0; left -= 1) {
        const length = this.#draw.integer(0, 400);
        await packer.answer(this.#draw.chance(0.4) ? undefined : this.#draw.random.bytes(length));
      }
      await packer.flush();
      if (await this.#stopsHalfWay(channel)) return;
    }
    await channel.end();
  }
}
