import type { NodeId, VersionId } from '../../../crdt/ids.ts';
import type { CheckerFactory, World } from './checker.ts';

/**
 * Invariant 4: no dot is issued twice by a node that could have known better. Where nothing could tell it that its
 * disk went back in time, and where a member lies, a dot may come twice; then it must be noticed and reported.
 */
export const uniqueDots: CheckerFactory = {
  name: 'unique-dots',
  create: (world) => {
    const issued = new Map<string, VersionId>();
    const doubles: (readonly [VersionId, VersionId])[] = [];
    return {
      learned: ({ version, doc }, violate) => {
        const { dot, node } = version.record;
        const name = `${doc} ${dot.actor} ${dot.counter}`;
        const first = issued.get(name);
        if (first === undefined) issued.set(name, version.id);
        else if (mayRepeat(world, node)) doubles.push([first, version.id]);
        else violate(`dot ${dot.counter} of ${dot.actor} was issued twice: ${first} and ${version.id}`);
      },
      quiet: (violate) => {
        for (const { name, process, holdings } of world.machines.values()) {
          if (!doubles.some(([first, second]) => holdings.has(first) && holdings.has(second))) continue;
          // A node that was restarted may have told of it in an earlier life.
          const reports = process?.metrics.value('anabranch_dots_reused_total') ?? 0;
          if (reports === 0 && process?.life === 1) violate(`${name} did not report that a dot came twice`);
        }
      },
    };
  },
};

function mayRepeat(world: World, node: NodeId): boolean {
  if (world.hostile.has(node)) return true;
  return [...world.machines.values()].some((machine) => machine.member.nodeId === node && machine.rolledBackUnnoticed);
}
