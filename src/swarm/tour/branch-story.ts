import { shortId } from '../../client/draw-graph.ts';
import {
  type BranchStep,
  cutMesh,
  drawing,
  healMesh,
  mergeSides,
  planText,
  type SideWrite,
  sideOf,
  writeBothSides,
  writePlan,
} from './branch-steps.ts';
import { listOf, type Stage } from './stage.ts';
import type { TourNode } from './tour-types.ts';

/** How two branches come to be, meet, and are joined. Leaves the mesh whole, also when a step does not hold. */
export async function tellOfBranches(
  stage: Stage,
  step: BranchStep,
  writers: readonly [TourNode, TourNode],
): Promise<void> {
  try {
    const plan = await tellOfTheCut(stage, step, writers[0]);
    const sides = await tellOfBothWrites(stage, step, writers, plan);
    await tellOfTheHealing(stage, step, sides);
    await tellOfTheMerge(stage, step, sides);
  } catch (error) {
    // The reason for stopping counts, not what else may go wrong now.
    await step.control.heal().catch(() => undefined);
    throw error;
  }
}

/** Resolves with the version of the plan. */
async function tellOfTheCut(stage: Stage, step: BranchStep, writer: TourNode): Promise<string> {
  const sides = `${listOf(step.left)} on one side and ${listOf(step.right)} on the other`;
  return stage.step(
    'The mesh is cut in two',
    `${writer.name} writes a short plan to ${nameOf(step)}, every node gets it, and the coordinators (nodes that vote) ` +
      `confirm it. Then the connections between the nodes are cut so that ${sides} cannot reach each other, as if a cable had been pulled.`,
    async () => {
      const written = await writePlan(step, writer);
      stage.narrator.show([`The plan, version ${shortId(written.version)}:`, ...textLines(planText)]);
      await cutMesh(step);
      return { outcome: `The mesh is in two parts: ${sides}.`, value: written.version };
    },
  );
}

function tellOfBothWrites(
  stage: Stage,
  step: BranchStep,
  writers: readonly [TourNode, TourNode],
  plan: string,
): Promise<readonly SideWrite[]> {
  return stage.step(
    'Both sides write the same file',
    `${writers[0].name} and ${writers[1].name} both change the plan. Neither can know of the other, and neither is told ` +
      'to wait: work goes on while the mesh is broken.',
    async () => {
      const sides = await writeBothSides(step, writers, plan);
      for (const { node, text, written, isConfirmed } of sides) {
        const state = isConfirmed
          ? 'confirmed: this side has most of the coordinators'
          : 'provisional: this side has too few of the coordinators';
        stage.narrator.show([`On ${node.name}, version ${shortId(written.version)}, ${state}`, ...textLines(text)]);
      }
      return { outcome: 'Both writes were accepted, and one of them is confirmed.', value: sides };
    },
  );
}

async function tellOfTheHealing(stage: Stage, step: BranchStep, sides: readonly SideWrite[]): Promise<void> {
  await stage.step(
    'The mesh heals, and nothing is lost',
    'The connections are restored. The nodes compare what they have, exchange what is missing, and keep both versions ' +
      'as branches. What was confirmed stays confirmed; the other version is kept beside it, and every node says that ' +
      'there is a conflict.',
    async () => {
      const { graph, conflict } = await healMesh(step, sides);
      stage.narrator.show([
        `Versions of ${nameOf(step)}, newest first:`,
        ...(await drawing(step, graph)),
        '',
        `Conflict raised on every node: ${conflict.heads.length} heads, ${conflict.heads.map(shortId).join(' and ')}`,
        `Preferred, so read until someone merges: ${sideOf(graph.preferred, sides)}`,
        'It is the confirmed one. Where nothing is, all nodes choose by longer history, then greater id: no clock is asked.',
      ]);
      const outcome = `All ${step.nodes.length} nodes have the identical version graph, with ${graph.heads.length} heads.`;
      return { outcome, value: undefined };
    },
  );
}

async function tellOfTheMerge(stage: Stage, step: BranchStep, sides: readonly SideWrite[]): Promise<void> {
  const merger = step.left.at(-1) ?? step.nodes[0];
  if (merger === undefined) return;
  await stage.step(
    'A merge joins the branches',
    `Someone at ${merger.name} writes a plan that has both lines, and says which two versions it is based on. That ` +
      'settles the conflict everywhere, and the merge is confirmed: now both former versions are part of what is.',
    async () => {
      const graph = await mergeSides(step, sides, merger);
      stage.narrator.show([`Versions of ${nameOf(step)}, newest first:`, ...(await drawing(step, graph))]);
      const head = shortId(graph.preferred);
      const outcome = `One head is left, ${head}, and it is confirmed; graph and content are identical on all ${step.nodes.length} nodes.`;
      return { outcome, value: undefined };
    },
  );
}

function nameOf({ object }: BranchStep): string {
  return `${object.ns}/${object.key}`;
}

function textLines(text: string): string[] {
  const lines = text.trimEnd().split('\n');
  return lines.map((line) => `  ${line}`);
}
