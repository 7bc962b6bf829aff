import test from "ava";
import { warmUp } from "../../src/api/warm-up.ts";
import { testConfig } from "../helpers/server.ts";

test("the made-up requests are valid, whatever the configuration asks of real ones", async (t) => {
  await t.notThrowsAsync(warmUp(testConfig()));
  await t.notThrowsAsync(warmUp(testConfig({ MODEL_STRICT: "true", DEFAULT_MAX_TOKENS: "1" })));
});
