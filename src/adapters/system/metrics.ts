import * as prometheus from 'prom-client';
import type { Counter, Gauge, Histogram, MetricDefinition, Metrics } from '../../ports/metrics.ts';

/** Metrics for Prometheus to scrape, in a registry of their own so that several nodes fit in one process. */
export class PromMetrics implements Metrics {
  readonly #registry = new prometheus.Registry();

  constructor(options: { readonly processMetrics?: boolean } = {}) {
    if (options.processMetrics) prometheus.collectDefaultMetrics({ register: this.#registry });
  }

  counter(definition: MetricDefinition): Counter {
    const metric = this.#once(
      definition.name,
      prometheus.Counter,
      () => new prometheus.Counter(this.#options(definition)),
    );
    return { add: (amount, labels = {}) => metric.inc(labels, amount) };
  }

  gauge(definition: MetricDefinition): Gauge {
    const metric = this.#once(definition.name, prometheus.Gauge, () => new prometheus.Gauge(this.#options(definition)));
    return { set: (value, labels = {}) => metric.set(labels, value) };
  }

  histogram(definition: MetricDefinition & { readonly buckets: readonly number[] }): Histogram {
    const metric = this.#once(
      definition.name,
      prometheus.Histogram,
      () => new prometheus.Histogram({ ...this.#options(definition), buckets: [...definition.buckets] }),
    );
    return { observe: (value, labels = {}) => metric.observe(labels, value) };
  }

  /** Everything in the Prometheus text format. */
  text(): Promise<string> {
    return this.#registry.metrics();
  }

  /** Two parts of the node may ask for one metric: both get the same. */
  #once<T extends prometheus.Metric>(name: string, kind: abstract new (...rest: never[]) => T, create: () => T): T {
    const known = this.#registry.getSingleMetric(name);
    if (known === undefined) return create();
    if (known instanceof kind) return known;
    throw new TypeError(`${name} is a metric of another kind already`);
  }

  #options(definition: MetricDefinition): {
    name: string;
    help: string;
    labelNames: string[];
    registers: prometheus.Registry[];
  } {
    return {
      name: definition.name,
      help: definition.help,
      labelNames: [...(definition.labels ?? [])],
      registers: [this.#registry],
    };
  }
}
