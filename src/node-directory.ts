import { mkdir, mkdtemp, open, rename, rm } from 'node:fs/promises';
import { dirname, isAbsolute, join, relative, resolve } from 'node:path';
import { z } from 'zod';
import { checkLabels } from '../crdt/control/member.ts';
import type { Genesis } from '../crdt/genesis.ts';
import { decodeGenesis } from '../crdt/genesis.ts';
import type { ClusterId, NodeId, PeerId } from '../crdt/ids.ts';
import { isNodeId } from '../crdt/node-name.ts';
import { fromBase64Url, peerIdOf, signerFromSeed, toBase64Url } from '../crdt/signature.ts';
import { byteRateForm, parseByteRate } from './byte-rate.ts';
import { makeDirectory } from './make-directory.ts';
import type { ContentSettings } from './node/content/content-plane.ts';
import type { MembershipSettings } from './node/membership/settings.ts';
import { MeshError } from './ports/mesh-error.ts';
import type { ReplicationSettings } from './replication/replication.ts';
import { worded } from './schema-issues.ts';

/** Bytes of an ed25519 seed. */
const seedBytes = 32;
/** No file of a node directory that is read whole may be larger: a peers file of 1,000 members has about 300 KiB. */
const fileBytesMax = 4 * 1024 * 1024;
const dayMs = 24 * 3_600_000;
const daysMax = 3_650;
const secondsADay = 86_400;
const secretMode = 0o600;
const directoryMode = 0o700;
/** Without TLS the API stays on the machine: a token must not cross a wire in the clear. */
const loopbackHosts = ['127.0.0.1', '::1', 'localhost'] as const;

const rateSchema = z.string().refine((text) => parseByteRate(text) !== undefined, `must be ${byteRateForm}`);

const patienceSchema = z
  .number()
  .min(1)
  .max(daysMax * secondsADay);

const nodeFileSchema = z.strictObject({
  v: z.literal(1),
  name: z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/, 'must be 1 to 63 of a-z, 0-9 and -'),
  nodeId: z.string().refine(isNodeId, 'must be 26 characters of lowercase base32'),
  http: z.strictObject({ host: z.enum(loopbackHosts), port: z.int().min(0).max(65_535) }),
  listen: z.array(z.string().min(1).max(512)).min(1).max(16),
  peersFile: z.string().min(1).max(4_096),
  maxUpload: rateSchema.optional(),
  maxDownload: rateSchema.optional(),
  scrubDays: z
    .number()
    .min(1 / 24)
    .max(daysMax)
    .optional(),
  scrubRate: rateSchema.optional(),
  url: z
    .url({ protocol: /^https?$/ })
    .max(512)
    .optional(),
  labels: z
    .record(z.string(), z.string())
    .refine((labels) => checkLabels(labels) === undefined, 'must be labels such as room=cellar, at most 32')
    .optional(),
  capacityBytes: z.int().min(1).optional(),
  autoCapacity: z.boolean().optional(),
  heartbeatSeconds: z.number().min(0.1).max(60).optional(),
  suspectAfterSeconds: patienceSchema.optional(),
  offlineAfterSeconds: patienceSchema.optional(),
  repairDelaySeconds: patienceSchema.optional(),
  auditEverySeconds: patienceSchema.optional(),
});

type NodeFile = z.infer<typeof nodeFileSchema>;

export interface HttpAddress {
  readonly host: string;
  readonly port: number;
}

/** What makes one node: who it is, where it listens, and whom it knows. */
export interface NodeDirectory {
  readonly dir: string;
  readonly name: string;
  readonly nodeId: NodeId;
  readonly peerId: PeerId;
  readonly http: HttpAddress;
  /** Multiaddrs to listen on. */
  readonly listen: readonly string[];
  /** Absolute path of the peers file, which plays the genesis entry. */
  readonly peersFile: string;
  readonly genesis: Genesis;
  readonly cluster: ClusterId;
  /** The ed25519 seed of the node's identity. */
  readonly seed: Uint8Array;
  /** The bearer token of the API. */
  readonly token: string;
  /** What the node file sets of moving content and of the scrub. */
  readonly content: ContentSettings;
  /** What it says of itself (its public URL, labels for people), and how much it may hold. */
  readonly membership: MembershipSettings;
  /** How long a node may be away before others stand in for it, and how often replicas are audited. */
  readonly replication: ReplicationSettings;
  readonly paths: NodeDirectoryPaths;
}

export interface NodeDirectoryPaths {
  readonly nodeFile: string;
  readonly identityFile: string;
  readonly tokenFile: string;
  readonly data: string;
  readonly blobs: string;
  readonly lock: string;
  readonly controlSocket: string;
  readonly logFile: string;
}

/** Where everything of a node directory lies. */
export function nodeDirectoryPaths(dir: string): NodeDirectoryPaths {
  return {
    nodeFile: join(dir, 'node.json'),
    identityFile: join(dir, 'identity.key'),
    tokenFile: join(dir, 'admin.token'),
    data: join(dir, 'data'),
    blobs: join(dir, 'blobs'),
    lock: join(dir, 'lock'),
    controlSocket: join(dir, 'control.sock'),
    logFile: join(dir, 'node.log'),
  };
}

export interface NewNodeDirectory {
  readonly name: string;
  readonly nodeId: NodeId;
  readonly seed: Uint8Array;
  readonly token: string;
  readonly http: HttpAddress;
  readonly listen: readonly string[];
  /** Kept relative to the node directory when it lies beside it, so that a swarm directory can be moved. */
  readonly peersFile: string;
  /** The text of a peers file that lies in the directory itself, and is made with it. */
  readonly peersText?: string;
  /** False for a node that leaves it to others to enter its capacity into the control log. */
  readonly autoCapacity?: boolean;
}

/**
 * Makes a node directory: all of it, or nothing, since it is built under another name and renamed.
 * Rejects with `MeshError` `invalid_config` when `dir` exists already.
 */
export async function createNodeDirectory(dir: string, node: NewNodeDirectory): Promise<void> {
  const parent = dirname(resolve(dir));
  await makeDirectory(parent);
  const draft = await mkdtemp(join(parent, '.new-node-'));
  try {
    const paths = nodeDirectoryPaths(draft);
    await writeFlushed(paths.identityFile, `${toBase64Url(node.seed)}\n`);
    await writeFlushed(paths.tokenFile, `${node.token}\n`);
    await writeFlushed(paths.nodeFile, nodeFileText(dir, node));
    if (node.peersText !== undefined) {
      await writeFlushed(join(draft, relative(resolve(dir), resolve(node.peersFile))), `${node.peersText}\n`);
    }
    await mkdir(paths.data, { mode: directoryMode });
    await mkdir(paths.blobs, { mode: directoryMode });
    await rename(draft, dir);
    await flushDirectory(parent);
  } catch (cause) {
    await rm(draft, { recursive: true, force: true });
    if (hasCode(cause, 'ENOTEMPTY', 'EEXIST', 'ENOTDIR')) {
      throw new MeshError('invalid_config', `${dir} exists already; choose another directory`, { cause });
    }
    throw cause;
  }
}

/** Gives a node another HTTP address; everything else of its directory stays. The node must not be running. */
export async function updateNodeHttp(dir: string, http: HttpAddress): Promise<void> {
  const { nodeFile } = nodeDirectoryPaths(dir);
  const config = await readNodeFile(nodeFile);
  const draft = `${nodeFile}.new`;
  await writeFlushed(draft, `${JSON.stringify({ ...config, http }, null, 2)}\n`);
  await rename(draft, nodeFile);
  await flushDirectory(dir);
}

/**
 * Reads and checks a node directory.
 * Rejects with `MeshError` `invalid_config`: the message names the file, what is wrong with it and what to do.
 */
export async function readNodeDirectory(dir: string): Promise<NodeDirectory> {
  const paths = nodeDirectoryPaths(resolve(dir));
  const config = await readNodeFile(paths.nodeFile);
  const peersFile = isAbsolute(config.peersFile) ? config.peersFile : resolve(dir, config.peersFile);
  const seed = await readSeed(paths.identityFile);
  const token = await readToken(paths.tokenFile);
  const decoded = decodeGenesis(await readText(peersFile));
  if (!decoded.ok) throw invalid(peersFile, `is not a valid peers file: ${decoded.error}`);
  const { genesis, id } = decoded.value;
  const peerId = peerIdOf(signerFromSeed(seed).publicKey);
  const fault = checkFounder(genesis, { nodeId: config.nodeId as NodeId, peerId });
  if (fault !== undefined) throw invalid(paths.identityFile, `holds the key ${peerId}, but ${peersFile} ${fault}`);
  return {
    dir: resolve(dir),
    name: config.name,
    nodeId: config.nodeId as NodeId,
    peerId,
    http: config.http,
    listen: config.listen,
    peersFile,
    genesis,
    cluster: id,
    seed,
    token,
    content: contentSettings(config),
    membership: membershipSettings(config),
    replication: replicationSettings(config),
    paths,
  };
}

/** A node enters its own capacity into the control log unless its file says otherwise. */
function membershipSettings(config: NodeFile): MembershipSettings {
  const { url, labels, capacityBytes, autoCapacity = true } = config;
  const { heartbeatSeconds, suspectAfterSeconds, offlineAfterSeconds } = config;
  return {
    autoCapacity,
    ...(url === undefined ? {} : { url }),
    ...(labels === undefined ? {} : { labels }),
    ...(capacityBytes === undefined ? {} : { capacityBytes }),
    ...(heartbeatSeconds === undefined ? {} : { heartbeatIntervalMs: heartbeatSeconds * 1_000 }),
    ...(suspectAfterSeconds === undefined ? {} : { suspectAfterMs: suspectAfterSeconds * 1_000 }),
    ...(offlineAfterSeconds === undefined ? {} : { offlineAfterMs: offlineAfterSeconds * 1_000 }),
  };
}

function replicationSettings({ repairDelaySeconds, auditEverySeconds }: NodeFile): ReplicationSettings {
  return {
    ...(repairDelaySeconds === undefined ? {} : { repairDelayMs: repairDelaySeconds * 1_000 }),
    ...(auditEverySeconds === undefined ? {} : { auditEveryMs: auditEverySeconds * 1_000 }),
  };
}

function contentSettings(config: NodeFile): ContentSettings {
  const { maxUpload, maxDownload, scrubDays, scrubRate } = config;
  const rateOf = (text: string | undefined): number | undefined =>
    text === undefined ? undefined : parseByteRate(text);
  const bytesPerSecondMax = rateOf(scrubRate);
  return {
    uploadBytesPerSecond: rateOf(maxUpload),
    downloadBytesPerSecond: rateOf(maxDownload),
    scrub: {
      ...(scrubDays === undefined ? {} : { periodMs: scrubDays * dayMs }),
      ...(bytesPerSecondMax === undefined ? {} : { bytesPerSecondMax }),
    },
  };
}

/** A node that the peers file does not know was admitted later, or is to be; one that it knows has the key it names. */
function checkFounder(genesis: Genesis, { nodeId, peerId }: Pick<NodeDirectory, 'nodeId' | 'peerId'>) {
  const member = genesis.members.find((each) => each.nodeId === nodeId || each.peerId === peerId);
  if (member === undefined || (member.nodeId === nodeId && member.peerId === peerId)) return undefined;
  if (member.nodeId === nodeId) return `gives node ${nodeId} another one`;
  return `gives it to node ${member.nodeId}, and not to ${nodeId}`;
}

/** Only what a client on this machine needs of a node directory: where the node answers, and its token. */
export async function readNodeAccess(dir: string): Promise<{ readonly url: string; readonly token: string }> {
  const paths = nodeDirectoryPaths(resolve(dir));
  const { http } = await readNodeFile(paths.nodeFile);
  return { url: httpUrl(http), token: await readToken(paths.tokenFile) };
}

export function httpUrl({ host, port }: HttpAddress): string {
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** Reads a bearer token from its file. Rejects with `MeshError` `invalid_config`. */
export async function readToken(path: string): Promise<string> {
  const token = (await readText(path)).trim();
  if (!/^[\x21-\x7e]{16,512}$/.test(token)) {
    throw invalid(path, 'does not hold an API token (16 to 512 printable characters)');
  }
  return token;
}

async function readNodeFile(path: string): Promise<NodeFile> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(await readText(path));
  } catch (cause) {
    if (cause instanceof MeshError) throw cause;
    throw invalid(path, 'is not JSON', cause);
  }
  const checked = nodeFileSchema.safeParse(parsed, worded);
  if (checked.success) return checked.data;
  const issue = checked.error.issues[0];
  throw invalid(
    path,
    `is not a valid node file: ${issue?.path.join('.') || 'the file'}: ${issue?.message ?? 'invalid'}`,
  );
}

async function readSeed(path: string): Promise<Uint8Array> {
  const seed = fromBase64Url((await readText(path)).trim());
  if (seed?.length !== seedBytes) throw invalid(path, `does not hold a key (${seedBytes} bytes in base64url)`);
  return seed;
}

async function readText(path: string): Promise<string> {
  try {
    const file = await open(path, 'r');
    try {
      const { size } = await file.stat();
      if (size > fileBytesMax) throw invalid(path, `is larger than ${fileBytesMax} bytes`);
      return await file.readFile('utf8');
    } finally {
      await file.close();
    }
  } catch (cause) {
    if (cause instanceof MeshError) throw cause;
    if (hasCode(cause, 'ENOENT', 'ENOTDIR')) {
      throw invalid(
        path,
        'is missing; is this a node directory? `anabranch init` makes one, `npm run swarm` some',
        cause,
      );
    }
    throw invalid(path, `cannot be read: ${(cause as Error).message}`, cause);
  }
}

function nodeFileText(dir: string, node: NewNodeDirectory): string {
  const beside = relative(resolve(dir), resolve(node.peersFile));
  const peersFile = beside.startsWith(join('..', '..')) || isAbsolute(beside) ? resolve(node.peersFile) : beside;
  const { name, nodeId, http, listen, autoCapacity } = node;
  return `${JSON.stringify({ v: 1, name, nodeId, http, listen, peersFile, autoCapacity }, null, 2)}\n`;
}

async function writeFlushed(path: string, text: string): Promise<void> {
  const file = await open(path, 'w', secretMode);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function flushDirectory(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function invalid(path: string, problem: string, cause?: unknown): MeshError {
  return new MeshError('invalid_config', `${path} ${problem}`, { cause, detail: { path } });
}

function hasCode(error: unknown, ...codes: string[]): boolean {
  return error instanceof Error && 'code' in error && codes.includes(String(error.code));
}
