import test from "ava";
import { mainThreadCpuSeconds } from "../../src/telemetry/main-thread.ts";

test("the time of the main thread grows while it works; elsewhere than on Linux it is not known", (t) => {
  const before = mainThreadCpuSeconds();
  if (process.platform !== "linux") return t.is(before, undefined);
  t.true(Number.isFinite(before) && before! > 0);
  let sum = 0;
  while (mainThreadCpuSeconds() === before) for (let i = 0; i < 1e5; i++) sum += i;
  t.true(sum > 0);
  t.true(mainThreadCpuSeconds()! > before!);
});
