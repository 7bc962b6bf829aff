// 100,000 key files that nobody would write on purpose: the parser never throws, accounts for every line, and never tells a key.
import { createHash } from "node:crypto";
import test from "ava";
import fc from "fast-check";
import { parseKeyFile } from "../../src/keys/key-file.ts";

const hex = (text: string) => createHash("sha256").update(text).digest("hex");

/** Of every form that a key can have. Those of the second list cannot be taken for an id, whatever stands behind them. */
const shortKeys = ["0123456789abcdef", "correct-horse_battery", "ABCDEFGH-12345678-abcdefgh"];
const clearKeys = [
  "sk-0123456789abcdef",
  `sk-${"aB3_-".repeat(9)}`,
  hex("plain"),
  `${hex("a")}${hex("b")}`,
  `sha256-${hex("x")}`,
];
const keys = [...shortKeys, ...clearKeys];

const anyKey = fc.constantFrom(...keys);
const id = fc.constantFrom("alice", "b", "x".repeat(64), "auth-disabled", "a b", "", "ä");
const limits = fc.constantFrom(
  "",
  "60",
  "60/1000/2",
  "0",
  "1/2/3/4",
  "/ /",
  "1e3",
  "9".repeat(16),
  "2026-01-01T10",
  "-1",
);
const expiry = fc.constantFrom("", "2026-12-31", "2026-02-30", "2026-01-01T10:00:00.5+02:00", "never", "99", ":::");
const noise = fc.string({ unit: "binary", maxLength: 6 });

const line = fc.oneof(
  // As it should be, with a field or two that may be wrong.
  fc.tuple(id, anyKey, limits, expiry).map((fields) => fields.join(":")),
  // The key in another place: alone, in front, in the limits, in the expiry, cut in two, in a comment, with noise around it.
  anyKey,
  fc.tuple(fc.constantFrom(...clearKeys), fc.oneof(id, anyKey), limits).map((fields) => fields.join(":")),
  fc.tuple(anyKey, fc.constantFrom("alice", "", "60", "b c"), limits).map((fields) => fields.join(":")),
  fc.tuple(id, anyKey, anyKey, anyKey).map((fields) => fields.join(":")),
  fc.tuple(id, anyKey, noise).map(([name, key, text]) => `${name} ${key}${text}`),
  fc.tuple(noise, anyKey, noise).map(([before, key, after]) => `${before}#${key}:${after}`),
  fc.tuple(noise, noise, noise).map((fields) => fields.join(":")),
);
const file = fc.tuple(
  fc.constantFrom("", "\ufeff"),
  fc.array(fc.tuple(line, fc.constantFrom("\n", "\r\n", "\r", " \n", "\n\n", "\t\r\n")), { maxLength: 5 }),
);

/** Throws what is wrong: an assertion of the test runner for each of a million facts would take minutes. */
function check(text: string): void {
  const { entries, warnings } = parseKeyFile(text);
  const lines = text.split(/\r\n|\n|\r/);
  const met = [...entries, ...warnings].map((item) => item.line);
  const expected = lines.flatMap((content, index) => (isBlank(content) ? [] : [index + 1]));
  if (met.sort((a, b) => a - b).join() !== expected.join()) throw new Error(`lines ${met}, expected ${expected}`);
  for (const { keyId, digest, limits: parsed, expiresAtMs } of entries) {
    if (!/^[A-Za-z0-9_-]{1,64}$/.test(keyId) || keyId === "auth-disabled" || digest.length !== 32)
      throw new Error("entry");
    if (!Object.values(parsed).every((count) => Number.isSafeInteger(count) && count >= 0)) throw new Error("limits");
    if (parsed.requestsPerMinute === 0 || Number.isNaN(expiresAtMs)) throw new Error("limits or expiry");
  }
  const told = JSON.stringify(warnings);
  const leaked = keys.find((key) => told.includes(key));
  if (leaked !== undefined) throw new Error(`a warning holds ${leaked}: ${told}`);
}

const isBlank = (content: string): boolean => {
  const trimmed = content.replace(/^\ufeff/, "").trim();
  return trimmed === "" || trimmed.startsWith("#");
};

test("100,000 generated files: nothing is thrown, every line is accounted for, and no warning holds a key", (t) => {
  fc.assert(
    fc.property(file, ([mark, lines]) => check(mark + lines.flat().join(""))),
    { numRuns: 100_000 },
  );
  t.pass();
});
