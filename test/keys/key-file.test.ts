// The grammar of the key file, row by row: what loads, what is refused and how the warning names it, and that no key is ever shown.
import { createHash } from "node:crypto";
import test from "ava";
import fc from "fast-check";
import { parseKeyFile } from "../../src/keys/key-file.ts";

process.env.TZ = "America/St_Johns";

const key = "sk-0123456789abcdef";
const other = "sk-fedcba9876543210";
const digest = createHash("sha256").update(key).digest("hex");

function problemOf(line: string): string {
  const { entries, warnings } = parseKeyFile(line);
  return entries.length > 0 || warnings.length !== 1 ? "loaded" : warnings[0]!.problem;
}

test("a line holds an id and a key; blank lines, comments, BOM, CRLF and spaces around fields do not count", (t) => {
  const text = `\ufeff# keys\r\n\r\n  a : ${key} \r\n\t# b:${other}\r\nb:${other}\n`;
  const { entries, warnings } = parseKeyFile(text);
  t.deepEqual(warnings, []);
  t.deepEqual(
    entries.map(({ keyId, line, limits, expiresAtMs }) => ({ keyId, line, limits, expiresAtMs })),
    [
      { keyId: "a", line: 3, limits: {}, expiresAtMs: null },
      { keyId: "b", line: 5, limits: {}, expiresAtMs: null },
    ],
  );
  t.is(entries[0]!.digest.toString("hex"), digest);
});

test("there are no inline comments", (t) => {
  t.is(problemOf(`a:${key} # mine`), "api_key: expected 16 to 128 letters, digits, - or _");
});

test("an id has 1 to 64 of [A-Za-z0-9_-]", (t) => {
  for (const id of ["a", "A-b_9", "x".repeat(64)]) t.is(problemOf(`${id}:${key}`), "loaded");
  for (const id of ["", "x".repeat(65), "a b", "ä", "a.b", "٣"]) {
    t.is(problemOf(`${id}:${key}`), "key_id: expected 1 to 64 letters, digits, - or _");
  }
  t.is(problemOf(`auth-disabled:${key}`), "key_id: auth-disabled is reserved");
});

test("a key has 16 to 128 of [A-Za-z0-9_-]", (t) => {
  for (const length of [16, 128]) t.is(problemOf(`a:${"xy".repeat(length / 2)}`), "loaded");
  for (const bad of ["", "x".repeat(15), `${"xy".repeat(64)}z`, "sk-0123456789abcdeä", "sk 0123456789abcdef"]) {
    t.is(problemOf(`a:${bad}`), "api_key: expected 16 to 128 letters, digits, - or _");
  }
  t.is(problemOf("alone"), "no colon: expected key_id:api_key[:limits][:expiry]");
});

test("a key may stand there as its SHA-256", (t) => {
  for (const hex of [digest, digest.toUpperCase()]) {
    const { entries } = parseKeyFile(`a:sha256-${hex}`);
    t.is(entries[0]?.digest.toString("hex"), digest);
  }
  for (const bad of ["sha256-", `sha256-${digest.slice(1)}`, `sha256-${digest}0`, `sha256-${"g".repeat(64)}`]) {
    t.is(problemOf(`a:${bad}`), "api_key: expected 64 hex digits after sha256-");
  }
});

test("placeholders are no keys, in any case", (t) => {
  const names = ["replace_with", "change_me", "changeme", "your_api_key", "your-api-key", "placeholder"];
  const bad = names.flatMap((name) => [`sk-${name}-0123456789`, `sk-0123456789-${name.toUpperCase()}`]);
  for (const candidate of [...bad, "x".repeat(16), "-".repeat(40)]) {
    t.is(problemOf(`a:${candidate}`), "api_key: this is a placeholder, not a key");
  }
  t.is(problemOf(`a:${"x".repeat(15)}X`), "loaded");
});

test("limits are RPM, RPM/TPM or RPM/TPM/CONCURRENT, and an empty part is the default", (t) => {
  const limitsOf = (text: string) => parseKeyFile(`a:${key}:${text}`).entries[0]?.limits;
  t.deepEqual(limitsOf(""), {});
  t.deepEqual(limitsOf("60"), { requestsPerMinute: 60 });
  t.deepEqual(limitsOf("60/1000"), { requestsPerMinute: 60, tokensPerMinute: 1000 });
  t.deepEqual(limitsOf(" 60 / 0 / 0 "), { requestsPerMinute: 60, tokensPerMinute: 0, concurrentRequests: 0 });
  t.deepEqual(limitsOf("//2"), { concurrentRequests: 2 });
  t.deepEqual(limitsOf("//"), {});
  t.is(problemOf(`a:${key}:0`), "limits: RPM must be at least 1");
  t.is(problemOf(`a:${key}:1/2/3/4`), "limits: expected at most RPM/TPM/CONCURRENT");
  for (const bad of ["-1", "1.5", "1e3", "1_000", "+1", "0x10", "many", "9".repeat(16), "1/-1", "1/1/x", "١"]) {
    t.is(problemOf(`a:${key}:${bad}`), "limits: expected whole numbers as RPM, RPM/TPM or RPM/TPM/CONCURRENT", bad);
  }
});

test("an expiry in the place of the limits is refused with a hint", (t) => {
  const problem = problemOf(`a:${key}:2026-01-01T00:00:00`);
  t.true(problem.endsWith("an expiry is the fourth field: key_id:api_key::expiry"), problem);
});

const moments: [text: string, iso: string][] = [
  ["2026-03-01", "2026-03-01T00:00:00.000Z"],
  ["2024-02-29", "2024-02-29T00:00:00.000Z"],
  ["2026-03-01T12:30", "2026-03-01T12:30:00.000Z"],
  ["2026-03-01 12:30:15", "2026-03-01T12:30:15.000Z"],
  ["2026-03-01T12:30:15Z", "2026-03-01T12:30:15.000Z"],
  ["2026-03-01T12:30Z", "2026-03-01T12:30:00.000Z"],
  ["2026-03-01T12:30:15.5", "2026-03-01T12:30:15.500Z"],
  ["2026-03-01T12:30:15.125+02:00", "2026-03-01T10:30:15.125Z"],
  ["2026-03-01T00:30:00-0530", "2026-03-01T06:00:00.000Z"],
  ["2026-03-01 00:30+01:00", "2026-02-28T23:30:00.000Z"],
  ["0099-01-01", "0099-01-01T00:00:00.000Z"],
];

for (const [text, iso] of moments) {
  test(`the expiry ${text} is ${iso}, whatever the zone of the server`, (t) => {
    t.is(new Date(parseKeyFile(`a:${key}::${text}`).entries[0]!.expiresAtMs!).toISOString(), iso);
  });
}

test("what is no existing moment, or written otherwise, is refused", (t) => {
  const bad = [
    "2026-02-30",
    "2025-02-29",
    "2026-13-01",
    "2026-00-10",
    "2026-01-00",
    "0000-01-01",
    "2026-1-1",
    "20260101",
  ];
  bad.push(
    "2026-01-01T",
    "2026-01-01T24:00",
    "2026-01-01T12:60",
    "2026-01-01T12:30:60",
    "2026-01-01T12",
    "2026-01-01Z",
  );
  bad.push(
    "2026-01-01T12:30:15.",
    "2026-01-01T12:30:15.1234567890",
    "2026-01-01T12:30+24:00",
    "2026-01-01T12:30+01:60",
  );
  bad.push(
    "2026-01-01t12:30",
    "2026-01-01T12:30z",
    "2026-01-01  12:30",
    "2026-01-01T12:30+1",
    "never",
    "tomorrow",
    "1d",
  );
  for (const text of bad) t.true(problemOf(`a:${key}::${text}`).startsWith("expiry: "), text);
  t.is(problemOf(`a:${key}::`), "loaded");
});

test("the same secret twice, plain or as digest: the first one counts, and the warning names both ids", (t) => {
  for (const [first, second] of [
    [key, key],
    [key, `sha256-${digest}`],
    [`sha256-${digest}`, key],
  ]) {
    const { entries, warnings } = parseKeyFile(`a:${first}\n\nb:${second}`);
    t.deepEqual(
      entries.map(({ keyId }) => keyId),
      ["a"],
    );
    t.deepEqual(warnings, [{ line: 3, keyId: "b", problem: "the same key as line 1 (a), which is used" }]);
  }
});

test("one id may have several keys, each with its own limits and expiry", (t) => {
  const { entries, warnings } = parseKeyFile(`a:${key}:10:2026-01-01\na:${other}:20`);
  t.deepEqual(warnings, []);
  t.deepEqual(
    entries.map(({ limits }) => limits),
    [{ requestsPerMinute: 10 }, { requestsPerMinute: 20 }],
  );
});

test("a refused line is refused alone, by its number", (t) => {
  const { entries, warnings } = parseKeyFile(`a:${key}:0\nb:${other}`);
  t.deepEqual(
    entries.map(({ keyId }) => keyId),
    ["b"],
  );
  t.deepEqual(warnings, [{ line: 1, keyId: "a", problem: "limits: RPM must be at least 1" }]);
});

test("a key in the place of the id is not shown", (t) => {
  const secrets = ["sk-0123456789abcdef", "0123456789abcdef".repeat(3)];
  for (const secret of secrets) {
    for (const line of [secret, `${secret}:alice`, `alice ${secret}`, `${secret}::60`]) {
      const { warnings } = parseKeyFile(line);
      t.is(warnings.length, 1);
      t.false(JSON.stringify(warnings).includes(secret), line);
    }
  }
});

test("any file at all: nothing is thrown, every line is an entry or a warning or neither, and no warning holds a key", (t) => {
  const field = fc.oneof(
    fc.constantFrom(
      "a",
      key,
      `sha256-${digest}`,
      "60",
      "1/2/3",
      "2026-01-01",
      "2026-01-01T10:00Z",
      "",
      "#",
      " ",
      "\u0000",
    ),
    fc.string({ unit: "binary" }),
  );
  const line = fc.array(field, { maxLength: 6 }).map((fields) => fields.join(":"));
  fc.assert(
    fc.property(fc.array(line, { maxLength: 8 }), fc.constantFrom("\n", "\r\n", "\r"), (lines, end) => {
      const { entries, warnings } = parseKeyFile(lines.join(end));
      const numbers = [...entries, ...warnings].map((item) => item.line);
      t.is(new Set(numbers).size, numbers.length);
      for (const { digest: bytes, keyId } of entries) t.true(bytes.length === 32 && /^[\w-]{1,64}$/.test(keyId));
      t.false(JSON.stringify(warnings).includes(key));
    }),
    { numRuns: 2000 },
  );
});
