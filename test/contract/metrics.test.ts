import { MemoryMetrics } from '../../src/adapters/memory/metrics.ts';
import { PromMetrics } from '../../src/adapters/system/metrics.ts';
import type { MetricLabels } from '../../src/ports/metrics.ts';
import { metricsContract } from './metrics.contract.ts';

metricsContract('prometheus', () => {
  const metrics = new PromMetrics();
  const sample = async (name: string, labels: MetricLabels = {}): Promise<number> => {
    const lines = (await metrics.text()).split('\n');
    const wanted = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
    const line = lines.find((each) => {
      return new RegExp(`^${name}[ {]`).test(each) && wanted.every((pair) => each.includes(pair));
    });
    return Number(line?.split(' ').at(-1));
  };
  return {
    metrics,
    value: async (name, labels) => {
      const sum = await sample(`${name}_sum`, labels);
      return Number.isNaN(sum) ? sample(name, labels) : sum;
    },
    observations: (name, labels) => sample(`${name}_count`, labels),
  };
});

metricsContract('memory', () => {
  const metrics = new MemoryMetrics();
  return {
    metrics,
    value: async (name, labels) => metrics.value(name, labels),
    observations: async (name, labels) => metrics.observations(name, labels),
  };
});
