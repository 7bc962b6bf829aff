import test from "ava";
import { formatDuration } from "../../src/admission/duration.ts";

const cases: readonly (readonly [ms: number, text: string])[] = [
  [-1, "0s"],
  [0, "0s"],
  [0.1, "1ms"],
  [120, "120ms"],
  [999, "999ms"],
  [999.2, "1s"],
  [1500, "1.5s"],
  [1001, "1.001s"],
  [59_999, "59.999s"],
  [59_999.5, "1m0s"],
  [60_000, "1m0s"],
  [60_001, "1m1s"],
  [360_000, "6m0s"],
  [3_599_001, "1h0m0s"],
  [3_603_000, "1h0m3s"],
];

test("durations are written as rate limit headers write them, rounded up", (t) => {
  for (const [ms, text] of cases) t.is(formatDuration(ms), text, String(ms));
});
