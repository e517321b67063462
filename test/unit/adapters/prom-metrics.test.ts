import { describe, expect, it } from 'vitest';
import { PromMetrics } from '../../../src/adapters/system/metrics.ts';

describe('metrics for Prometheus', () => {
  it('are written in its text format', async () => {
    const metrics = new PromMetrics();
    metrics
      .counter({ name: 'anabranch_bytes_total', help: 'Bytes moved.', labels: ['direction'] })
      .add(5, { direction: 'in' });
    metrics.histogram({ name: 'anabranch_flush_seconds', help: 'Flushes.', buckets: [0.1, 1] }).observe(0.5);
    expect((await metrics.text()).trimEnd().split('\n').filter(Boolean)).toEqual([
      '# HELP anabranch_bytes_total Bytes moved.',
      '# TYPE anabranch_bytes_total counter',
      'anabranch_bytes_total{direction="in"} 5',
      '# HELP anabranch_flush_seconds Flushes.',
      '# TYPE anabranch_flush_seconds histogram',
      'anabranch_flush_seconds_bucket{le="0.1"} 0',
      'anabranch_flush_seconds_bucket{le="1"} 1',
      'anabranch_flush_seconds_bucket{le="+Inf"} 1',
      'anabranch_flush_seconds_sum 0.5',
      'anabranch_flush_seconds_count 1',
    ]);
  });

  it('belong to one node, though several share the process', async () => {
    const [one, other] = [new PromMetrics(), new PromMetrics()];
    one.gauge({ name: 'anabranch_peers', help: 'Peers.' }).set(1);
    other.gauge({ name: 'anabranch_peers', help: 'Peers.' }).set(2);
    expect(await one.text()).toContain('anabranch_peers 1');
    expect(await other.text()).toContain('anabranch_peers 2');
  });

  it('tell of the process when asked to', async () => {
    expect(await new PromMetrics().text()).not.toContain('process_');
    const text = await new PromMetrics({ processMetrics: true }).text();
    expect(text).toContain('process_resident_memory_bytes');
    expect(text).toContain('nodejs_eventloop_lag_seconds');
  });
});
