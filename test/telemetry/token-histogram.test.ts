// What it tells is what prom-client's own histogram tells of the same values.
import test from "ava";
import fc from "fast-check";
import { Histogram, Registry } from "prom-client";
import { registryJson } from "../../src/telemetry/registry-json.ts";
import { TokenHistogram } from "../../src/telemetry/token-histogram.ts";

test("as text and as JSON it is like prom-client's histogram", async (t) => {
  const values = fc.array(fc.oneof(fc.double({ min: 0, max: 10, noNaN: true }), fc.constantFrom(0, 0.5, 1, 2.5, 1e9)));
  await fc.assert(
    fc.asyncProperty(values, async (values) => {
      const [ours, theirs] = [new Registry(), new Registry()];
      const options = { name: "gap_seconds", help: "Of tokens.", buckets: [0.5, 1, 2.5] };
      const histograms = [
        new TokenHistogram({ ...options, registers: [ours] }),
        new Histogram({ ...options, registers: [theirs] }),
      ];
      for (const value of values) for (const histogram of histograms) histogram.observe(value);
      t.is(await ours.metrics(), await theirs.metrics());
      t.deepEqual(await registryJson(ours, ""), await registryJson(theirs, ""));
    }),
  );
});
