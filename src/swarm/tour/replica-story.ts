import type { ObjectName } from './mesh-view.ts';
import {
  exactlyHealthy,
  membersOf,
  placeOf,
  planLines,
  planned,
  provedEverywhere,
  type ReplicaStep,
  repaired,
  reportedAsSurplus,
  type Spread,
  spreadFiles,
  victimOf,
} from './replica-steps.ts';
import { listOf, type Stage } from './stage.ts';
import type { TourNode } from './tour-types.ts';

/** Says how many copies each file is to have, before there are any. */
export function tellOfThePolicy(stage: Stage, step: ReplicaStep): Promise<Spread> {
  return stage.step(
    'Each file gets a few homes, in different places',
    `The nodes pretend to stand in data centres. For all files of this tour, the namespace ${step.ns} is told how many ` +
      'copies to keep and in how many places. From a file’s name alone every node works out which nodes those are.',
    async () => {
      const members = await membersOf(step.nodes, stage.signal);
      const byPlace = Map.groupBy(members, placeOf);
      stage.narrator.show(
        Array.from(byPlace, ([place, there]) => `  ${place}: ${there.map(({ name }) => name).join(', ')}`).sort(),
      );
      const spread = await spreadFiles(step);
      const { replicas, places } = spread;
      const copies = replicas === 1 ? 'one copy' : `${replicas} copies`;
      const where = places === 1 ? 'one place' : `${places} different places`;
      return { outcome: `Every file is to have ${copies}, in ${where}, and all nodes know it.`, value: spread };
    },
  );
}

/** Shows who holds a file, and that every file has exactly the copies it should have. */
export async function tellOfTheHolders(
  stage: Stage,
  step: ReplicaStep,
  { object, spread, isFirst }: { readonly object: ObjectName; readonly spread: Spread; readonly isFirst: boolean },
): Promise<void> {
  await stage.step(
    'Every copy is proved',
    'A node that says it has a file must prove it: it is asked for a keyed hash of parts of the file that only who has ' +
      'the bytes can give. A node that took a file in and is none of its homes drops it after the homes have proved theirs.',
    async () => {
      const page = await provedEverywhere(step, object, spread);
      const holders = page.versions[0]?.holders ?? [];
      stage.narrator.show([
        `Holders of ${object.ns}/${object.key}:`,
        ...holders.map((holder) => `  ${holder.name} in ${placeOf(holder)}, proved`),
      ]);
      const { totals } = await exactlyHealthy(step, isFirst);
      const outcome =
        totals.over === 0
          ? `All ${totals.subjects} versions have exactly the copies they should have.`
          : `All ${totals.subjects} versions have their copies, ${totals.over} of them some to spare from earlier tours.`;
      return { outcome, value: undefined };
    },
  );
}

/** A node dies, its copies are made again, and it comes back. Leaves it running. */
export async function tellOfTheRepair(stage: Stage, step: ReplicaStep, object: ObjectName): Promise<void> {
  const victim = await victimOf(step);
  if (victim === undefined) {
    stage.narrator.say('\nFrom --nodes 4 on, the tour also kills a node and shows how its copies are made again.');
    return;
  }
  const survivors = step.nodes.filter((node) => node !== victim);
  const left = { ...step, nodes: survivors };
  try {
    const wereCopied = await tellOfTheDeath(stage, left, victim, object);
    await tellOfTheReturn(stage, step, victim, wereCopied);
  } catch (error) {
    // The reason for stopping counts, not what else may go wrong now.
    await step.control.startNode(victim.name).catch(() => undefined);
    throw error;
  }
}

/** Resolves with whether there was anything to copy: it may have been the home of none of the files. */
function tellOfTheDeath(stage: Stage, left: ReplicaStep, victim: TourNode, object: ObjectName): Promise<boolean> {
  return stage.step(
    'A node dies, and its copies are made again',
    `${victim.name} is killed, as if its computer had lost power. Once it has been silent for some seconds the others ` +
      'plan what to copy. They wait a moment more, since most computers come back, and then they do it. (Here both ' +
      'waits are a few seconds; outside a swarm on one computer they are a minute and ten minutes.)',
    async () => {
      const members = await membersOf(left.nodes, stage.signal);
      // A copy that it has not yet cannot come back with it.
      await exactlyHealthy(left, false);
      await left.control.killNode(victim.name);
      const plan = await planned(left, victim);
      stage.narrator.show([`What the others would copy without ${victim.name}:`, ...planLines(plan, members)]);
      const { totals } = await repaired(left);
      for (const { client } of left.nodes) {
        const read = await client.get(object.ns, object.key, { signal: stage.signal });
        for await (const _ of read.body);
      }
      const outcome =
        `All ${totals.subjects} versions have their copies again, without ${victim.name}, ` +
        `and ${listOf(left.nodes)} can read them.`;
      return { outcome, value: plan.repairs.length > 0 };
    },
  );
}

async function tellOfTheReturn(stage: Stage, step: ReplicaStep, victim: TourNode, wereCopied: boolean): Promise<void> {
  await stage.step(
    'The dead node comes back',
    `${victim.name} is started again, with everything it had on its disk. Its files now have one copy more than they ` +
      'need; that is reported, and nothing is thrown away because of it.',
    async () => {
      await step.control.startNode(victim.name);
      const { totals } = await reportedAsSurplus(step, wereCopied);
      const outcome = `${totals.over} of ${totals.subjects} versions have a copy to spare, and none has too few.`;
      return { outcome, value: undefined };
    },
  );
}
