import { describe, expect, it } from 'vitest';
import type { MetricLabels, Metrics } from '../../src/ports/metrics.ts';

/** What the suite asks of an adapter: metrics, and what they show. */
export interface MetricsHarness {
  readonly metrics: Metrics;
  /** A counter's total, a gauge's value, a histogram's sum. */
  value(name: string, labels?: MetricLabels): Promise<number>;
  /** How many values a histogram has seen. */
  observations(name: string, labels?: MetricLabels): Promise<number>;
}

/** The promises of `src/ports/metrics.ts`, for every adapter. */
export function metricsContract(name: string, create: () => MetricsHarness): void {
  describe(`Metrics: ${name}`, () => {
    it('adds up a counter', async () => {
      const { metrics, value } = create();
      const counter = metrics.counter({ name: 'anabranch_writes_total', help: 'Writes.' });
      counter.add(1);
      counter.add(2.5);
      counter.add(0);
      expect(await value('anabranch_writes_total')).toBe(3.5);
    });

    it('refuses to take a counter back', () => {
      const counter = create().metrics.counter({ name: 'anabranch_writes_total', help: 'Writes.' });
      expect(() => counter.add(-1)).toThrow();
    });

    it('shows the last value of a gauge', async () => {
      const { metrics, value } = create();
      const gauge = metrics.gauge({ name: 'anabranch_peers', help: 'Peers.' });
      gauge.set(5);
      gauge.set(-2);
      expect(await value('anabranch_peers')).toBe(-2);
    });

    it('sums and counts what a histogram observed', async () => {
      const { metrics, value, observations } = create();
      const histogram = metrics.histogram({ name: 'anabranch_flush_seconds', help: 'Flushes.', buckets: [0.1, 1, 10] });
      for (const seconds of [0.25, 0.5, 100]) histogram.observe(seconds);
      expect(await value('anabranch_flush_seconds')).toBe(100.75);
      expect(await observations('anabranch_flush_seconds')).toBe(3);
    });

    it('keeps label values apart, whatever their order', async () => {
      const { metrics, value } = create();
      const counter = metrics.counter({ name: 'anabranch_bytes_total', help: 'Bytes.', labels: ['peer', 'direction'] });
      counter.add(1, { peer: 'a', direction: 'in' });
      counter.add(2, { peer: 'b', direction: 'in' });
      counter.add(4, { direction: 'in', peer: 'a' });
      expect(await value('anabranch_bytes_total', { peer: 'a', direction: 'in' })).toBe(5);
      expect(await value('anabranch_bytes_total', { peer: 'b', direction: 'in' })).toBe(2);
    });

    it('refuses a label it was not told of', () => {
      const gauge = create().metrics.gauge({ name: 'anabranch_peers', help: 'Peers.', labels: ['state'] });
      expect(() => gauge.set(1, { colour: 'red' })).toThrow();
    });

    it('gives two parts that name one metric the same', async () => {
      const { metrics, value } = create();
      const definition = { name: 'anabranch_writes_total', help: 'Writes.' };
      metrics.counter(definition).add(1);
      metrics.counter(definition).add(1);
      expect(await value('anabranch_writes_total')).toBe(2);
    });

    it('refuses one name for two kinds, and a name Prometheus would not take', () => {
      const { metrics } = create();
      metrics.counter({ name: 'anabranch_writes_total', help: 'Writes.' });
      expect(() => metrics.gauge({ name: 'anabranch_writes_total', help: 'Writes.' })).toThrow(/kind|counter/);
      expect(() => metrics.gauge({ name: 'writes per second', help: 'Writes.' })).toThrow(/name/);
    });
  });
}
