import { ApiError } from '../../client/api-error.ts';
import { formatBytes } from '../../client/draw-graph.ts';
import type { Listing } from '../../node/api.ts';
import { tellOfBranches } from './branch-story.ts';
import { type FilesStep, storeGeneratedFile, storeProjectFiles } from './files-steps.ts';
import { groupsSettled, type ObjectName } from './mesh-view.ts';
import { seconds } from './narrator.ts';
import { projectFilesMax } from './project-files.ts';
import { membersOf, placeOf, type ReplicaStep } from './replica-steps.ts';
import { tellOfTheHolders, tellOfThePolicy, tellOfTheRepair } from './replica-story.ts';
import { listOf, Stage, TourStopped } from './stage.ts';
import type { Narrator, SwarmControl, TourNode } from './tour-types.ts';

const tourNamespace = 'tour';
const generatedBytesDefault = 100 * 1024 * 1024;

export interface TourDeps {
  readonly control: SwarmControl;
  readonly narrator: Narrator;
}

export interface TourOptions {
  readonly nodes: readonly [TourNode, ...TourNode[]];
  /** The folder whose files are stored. */
  readonly projectRoot: string;
  readonly generatedBytes?: number;
  readonly signal: AbortSignal;
}

export interface TourResult {
  readonly held: boolean;
  /** What the names of this tour's objects begin with, as `ns/prefix/`. */
  readonly objects: string;
}

/**
 * Shows what the mesh does on a running swarm, step by step, and checks every claim it makes. A step that does
 * not hold ends the tour; a cut it made is healed either way. Rejects with the signal's reason when that is aborted.
 */
export async function playTour({ narrator, control }: TourDeps, options: TourOptions): Promise<TourResult> {
  const startedMs = performance.now();
  const stage = new Stage(narrator, options.signal);
  let run = 1;
  try {
    run = await tellOfMeeting(stage, options);
    const replicas: ReplicaStep = { control, nodes: options.nodes, ns: tourNamespace, signal: stage.signal };
    const spread = await tellOfThePolicy(stage, replicas);
    const object = await tellOfFiles(stage, options, run);
    await tellOfTheHolders(stage, replicas, { object, spread, isFirst: run === 1 });
    await tellBranches(stage, control, options, run);
    await tellOfTheRepair(stage, replicas, object);
  } catch (error) {
    if (!(error instanceof TourStopped)) throw error;
    narrator.say('\nThe tour stops here, because this step did not hold. Each node keeps a log in its folder.');
    return { held: false, objects: `${tourNamespace}/${prefixOf(run)}` };
  }
  narrator.say(`\nEvery step held. The tour took ${seconds(performance.now() - startedMs)}.`);
  return { held: true, objects: `${tourNamespace}/${prefixOf(run)}` };
}

const prefixOf = (run: number): string => `run-${run}/`;

/** Waits for the mesh, and finds out which tour this is: later ones write beside what the earlier ones left. */
function tellOfMeeting(stage: Stage, { nodes }: TourOptions): Promise<number> {
  const others = nodes.length - 1;
  const who = others === 0 ? `${nodes[0].name} is a program` : `${listOf(nodes)} are ${nodes.length} separate programs`;
  return stage.step(
    'The nodes find each other',
    `${who} on this computer. Each node has a folder and a key of its own and shares nothing with the others: they ` +
      'could as well be in different cities. Nodes talk over encrypted connections and let no stranger in.',
    async () => {
      await groupsSettled([nodes], stage.signal);
      const { objects } = await nodes[0].client.status(stage.signal);
      const runs = await earlierRuns(nodes[0], stage.signal);
      const run = Math.max(0, ...runs) + 1;
      const met =
        others === 0
          ? 'The node is up.'
          : `Each node is connected to ${others === 1 ? 'the other' : `all ${others} others`}.`;
      const found =
        objects === 0
          ? 'Nothing is stored yet.'
          : `They still hold the ${objects} objects of earlier runs; this is tour ${run}.`;
      return { outcome: `${met} ${found}`, value: run };
    },
  );
}

async function earlierRuns({ client }: TourNode, signal: AbortSignal): Promise<number[]> {
  const runs: number[] = [];
  let after: string | undefined;
  do {
    const page: Listing = await emptyWhenAbsent(client.list(tourNamespace, { delimiter: '/', after }, signal));
    runs.push(...page.prefixes.flatMap((prefix) => /^run-(\d{1,6})\/$/.exec(prefix)?.[1] ?? []).map(Number));
    after = page.next ?? undefined;
  } while (after !== undefined);
  return runs;
}

async function emptyWhenAbsent(listing: Promise<Listing>): Promise<Listing> {
  try {
    return await listing;
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return { objects: [], prefixes: [], next: null };
    throw error;
  }
}

/** Resolves with the name of the large file. */
async function tellOfFiles(stage: Stage, options: TourOptions, run: number): Promise<ObjectName> {
  const { nodes, projectRoot, generatedBytes: size = generatedBytesDefault } = options;
  const step: FilesStep = { narrator: stage.narrator, ns: tourNamespace, prefix: prefixOf(run), signal: stage.signal };
  const [first, second = first] = nodes;
  const last = nodes.at(-1) ?? first;
  await stage.step(
    'What one node stores, another can read',
    `The files of this project, ${projectFilesMax} at most, are written to ${first.name} and read back from ${last.name}. ` +
      'For each, the BLAKE3 hash (a fingerprint of the content) of what comes back is compared with that of the file on disk.',
    async () => ({
      outcome: await storeProjectFiles(step, { root: projectRoot, writer: first, reader: last }),
      value: undefined,
    }),
  );
  const readers = nodes.length === 1 ? nodes : nodes.filter((node) => node !== second);
  return stage.step(
    'A large file travels in pieces',
    `A made-up file of ${formatBytes(size)} is written to ${second.name}. The nodes that are its homes fetch it piece by ` +
      'piece, check every piece, and store it. It is read on every other node: one that is no home of it gets the pieces ' +
      'from those that are, checks them too, and passes them on.',
    () => storeGeneratedFile(step, { size, writer: second, readers }),
  );
}

/** One data centre and the others; half and half where there is only one. */
async function sidesOf(
  nodes: readonly TourNode[],
  signal: AbortSignal,
): Promise<readonly [readonly TourNode[], readonly TourNode[]]> {
  const members = await membersOf(nodes, signal);
  const place = new Map(members.map((member) => [member.name, placeOf(member)]));
  const isHere = ({ name }: TourNode): boolean => place.get(name) === place.get(nodes[0]?.name ?? '');
  const here = nodes.filter(isHere);
  const middle = Math.floor(nodes.length / 2);
  return here.length === nodes.length
    ? [nodes.slice(0, middle), nodes.slice(middle)]
    : [here, nodes.filter((node) => !isHere(node))];
}

async function tellBranches(stage: Stage, control: SwarmControl, { nodes }: TourOptions, run: number): Promise<void> {
  const [left, right] = await sidesOf(nodes, stage.signal);
  const [here] = left;
  const there = right[Math.floor(right.length / 2)];
  if (here === undefined || there === undefined) {
    stage.narrator.say(`\n${nodes[0].name} is alone, so there is no mesh to cut. --nodes 2 (or more) shows the rest.`);
    return;
  }
  const object = { ns: tourNamespace, key: `${prefixOf(run)}plan.txt` };
  await tellOfBranches(stage, { control, nodes, left, right, object, signal: stage.signal }, [here, there]);
}
