import type { RunReport } from './run-seed.ts';
import type { RunRequest } from './worker.ts';

/** Why a run failed and how to play it again, in lines; none when it did not. Its last events are among them unless they were shown already. */
export function failureText(report: RunReport, request: RunRequest, { isVerbose = false } = {}): readonly string[] {
  const { failure, traceHash, virtualMs } = report;
  if (failure === undefined) return [];
  return [
    `✘ scenario ${request.scenario}, seed ${request.seed}, ${request.nodes} nodes, trace ${traceHash}`,
    ...(isVerbose ? [] : failure.tail).map((line) => `  ${line}`),
    `  after ${(virtualMs / 1_000).toFixed(1)} s: ${failure.message}`,
    `  replay: ${replayOf(request)}`,
  ];
}

/** What some runs came to, in lines. */
export function summaryText(reports: readonly RunReport[], elapsedMs: number): readonly string[] {
  const sum = (of: (report: RunReport) => number): number => reports.reduce((total, report) => total + of(report), 0);
  const kinds = new Map<string, number>();
  for (const { faults } of reports)
    for (const [kind, count] of Object.entries(faults)) kinds.set(kind, (kinds.get(kind) ?? 0) + count);
  const byCount = [...kinds].filter(([, count]) => count > 0).sort(([, left], [, right]) => right - left);
  const [only] = reports;
  return [
    [
      `${reports.length} runs`,
      `${reports.filter(({ failure }) => failure !== undefined).length} failed`,
      `${(sum(({ virtualMs }) => virtualMs) / 3_600_000).toFixed(1)} virtual hours`,
      `${byCount.reduce((total, [, count]) => total + count, 0)} faults injected`,
      `${sum(({ acknowledged }) => acknowledged)} writes acknowledged`,
      `${sum(({ conflicts }) => conflicts)} conflicts raised`,
      `${(elapsedMs / 1_000).toFixed(1)} s`,
    ].join(', '),
    `faults: ${byCount.map(([kind, count]) => `${kind} ${count}`).join(', ') || 'none'}`,
    ...(reports.length === 1 && only !== undefined ? [`trace ${only.traceHash}, ${only.events} events`] : []),
  ];
}

function replayOf({ scenario, seed, nodes, operations }: RunRequest): string {
  const most = `npm run sim -- --scenario ${scenario} --seed ${seed} --nodes ${nodes}`;
  return `${most}${operations === undefined ? '' : ` --operations ${operations}`} --verbose`;
}
