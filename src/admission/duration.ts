// Durations as the x-ratelimit-reset-* headers write them.

/** @param ms rounded up to whole milliseconds, from a minute on to whole seconds: `120ms`, `1.5s`, `6m0s`, `1h0m3s`, `0s` */
export function formatDuration(ms: number): string {
  const whole = Math.max(0, Math.ceil(ms));
  if (whole === 0) return "0s";
  if (whole < 1000) return `${whole}ms`;
  if (whole <= 59_999) return `${whole / 1000}s`;
  const seconds = Math.ceil(whole / 1000);
  const hours = Math.floor(seconds / 3600);
  const minutes = `${Math.floor(seconds / 60) % 60}m${seconds % 60}s`;
  return hours > 0 ? `${hours}h${minutes}` : minutes;
}
