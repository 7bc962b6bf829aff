// What DEBUG_SHELL shows of an environment: values of our own variables that are no secrets, and nothing else.
import test from "ava";
import { describeEnvironment } from "../src/debug-shell.ts";

test("only variables of the table show their values, whatever names an environment has", (t) => {
  const env = {
    PORT: "8000",
    REDIS_URL: "redis://u:secret@h",
    BACKEND_API_KEY: "secret",
    HOME: "secret",
    // What every object has without being told.
    constructor: "secret",
    toString: "secret",
    hasOwnProperty: "secret",
    port: "secret",
  };
  const shown = describeEnvironment({ ...env, ["__proto__"]: "secret" });
  t.is(shown.PORT, "8000");
  t.deepEqual(Object.keys(shown), [...Object.keys(env), "__proto__"].sort());
  for (const [name, value] of Object.entries(shown)) if (name !== "PORT") t.is(value, "***", name);
});
