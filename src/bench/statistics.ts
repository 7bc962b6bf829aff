// Summaries of measured series.

export type Summary = {
  readonly min: number;
  readonly max: number;
  readonly mean: number;
  readonly p50: number;
  readonly p90: number;
  readonly p95: number;
  readonly p99: number;
  readonly count: number;
};

/** Zeros for an empty series. */
export function summarise(values: readonly number[]): Summary {
  const sorted = values.toSorted((a, b) => a - b);
  const mean = sorted.reduce((sum, value) => sum + value, 0) / Math.max(sorted.length, 1);
  const at = (percent: number) => percentile(sorted, percent);
  const [p50, p90, p95, p99] = [at(50), at(90), at(95), at(99)] as const;
  return { min: sorted[0] ?? 0, max: sorted.at(-1) ?? 0, mean, p50, p90, p95, p99, count: sorted.length };
}

/** Linear between the closest ranks. @param sorted ascending */
export function percentile(sorted: readonly number[], percent: number): number {
  if (sorted.length === 0) return 0;
  const rank = ((sorted.length - 1) * percent) / 100;
  const below = sorted[Math.floor(rank)]!;
  const above = sorted[Math.ceil(rank)]!;
  return below + (above - below) * (rank - Math.floor(rank));
}
