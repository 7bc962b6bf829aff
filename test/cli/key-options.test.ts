// The values of the keys command's options: what ends up in the key file, and that nothing does which the server would read otherwise.
import test from "ava";
import { InvalidArgumentError } from "commander";
import fc from "fast-check";
import * as read from "../../src/cli/key-options.ts";
import { parseKeyFile } from "../../src/keys/key-file.ts";

const refused = { instanceOf: InvalidArgumentError };
const key = "sk-0123456789abcdef";

test("a name is what the server takes for a key id, on its own", (t) => {
  for (const name of ["a", "A-b_9", "-x", "x".repeat(64)]) t.is(read.keyId(name), name);
  const bad = ["", " ", "a\nb", "a\n", "\ra", " a", "a ", "a:b", "#a", "ä", "\ufeffa", "x".repeat(65), "auth-disabled"];
  for (const name of bad) t.throws(() => read.keyId(name), refused, JSON.stringify(name));
});

test("limits are one field of a line", (t) => {
  for (const text of ["", "60", "60/1000", "60/1000/2", "//2", "60//"]) t.is(read.limits(text), text);
  t.is(read.limits(" 60 / 5 "), "60 / 5");
  const bad = [
    "0",
    "1/2/3/4",
    "-1",
    "1.5",
    "x",
    "60:2026-01-01",
    "60:",
    `60\nb:${key}`,
    "60\r",
    "#",
    "٣",
    "9".repeat(16),
  ];
  for (const text of bad) t.throws(() => read.limits(text), refused, JSON.stringify(text));
});

test("a rate limit is one number of at least 1", (t) => {
  for (const text of ["1", "1000000"]) t.is(read.rateLimit(text), text);
  for (const bad of ["", "0", "00", "-1", "1/2", " 1", "1:2", "9".repeat(16)])
    t.throws(() => read.rateLimit(bad), refused);
});

test("an expiry is a duration or a moment; never is one only where it is offered; a time to keep is a duration", (t) => {
  t.regex(read.lifetime("90d"), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
  t.is(read.lifetime("2026-12-31 10:00+02:00"), "2026-12-31 10:00+02:00");
  for (const bad of ["", "never", "soon", "0d", "2026-02-30", "1d\nb", "2026-12-31:1"]) {
    t.throws(() => read.lifetime(bad), refused, JSON.stringify(bad));
  }
  t.is(read.lifetimeOrNever("never"), "");
  t.is(read.duration("2h"), 7_200_000);
  for (const bad of ["0m", "2099-01-01", "never", ""]) t.throws(() => read.duration(bad), refused);
});

test("a path is not empty and has no NUL", (t) => {
  t.is(read.path("./keys"), "./keys");
  for (const bad of ["", "a\0b"]) t.throws(() => read.path(bad), refused);
});

test("whatever is accepted is one valid line with that id", (t) => {
  const text = fc.oneof(fc.string({ unit: "binary", maxLength: 8 }), fc.stringMatching(/^[0-9/: \n]{0,8}$/));
  const accepted = (take: () => string): string | undefined => {
    try {
      return take();
    } catch (error) {
      if (error instanceof InvalidArgumentError) return undefined;
      throw error;
    }
  };
  fc.assert(
    fc.property(text, text, text, (name, limits, expiry) => {
      const fields = [
        accepted(() => read.keyId(name)) ?? "a",
        key,
        accepted(() => read.limits(limits)) ?? "",
        accepted(() => read.lifetime(expiry)) ?? "",
      ];
      const { entries, warnings } = parseKeyFile(fields.join(":"));
      t.is(warnings.length, 0);
      t.deepEqual(
        entries.map(({ keyId }) => keyId),
        [fields[0]!],
      );
    }),
    { numRuns: 1000 },
  );
});
