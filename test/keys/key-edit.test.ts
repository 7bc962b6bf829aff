// Changing a key file's lines: what each subcommand makes of them, and that every other line stays byte for byte.
import { createHash } from "node:crypto";
import test from "ava";
import fc from "fast-check";
import { addKey, isExpired, type Rotation, removeKey, rotateKey } from "../../src/keys/key-edit.ts";
import { parseKeyFile } from "../../src/keys/key-file.ts";
import { findLines, joinLines, type KeyLines, splitLines } from "../../src/keys/key-lines.ts";

const key = "sk-0123456789abcdef";
const other = "sk-fedcba9876543210";
const fresh = "sk-00112233445566778899aabbccddeeff";
const digestOf = (text: string) => `sha256-${createHash("sha256").update(text).digest("hex")}`;

const lines = (text: string): KeyLines => splitLines(Buffer.from(text));
const textOf = (file: KeyLines): string => joinLines(file).toString();

const asBefore = { hashed: undefined, limits: undefined, requestsPerMinute: undefined, expiry: undefined };
const add = (text: string, fields: object = {}) =>
  textOf(addKey(lines(text), { keyId: "new", key: fresh, hashed: false, limits: "", expiry: "", ...fields }));
const rotate = (text: string, changes: Partial<Rotation> = {}) => {
  return textOf(rotateKey(lines(text), { keyId: "a", key: fresh, ...asBefore, keepOldUntilMs: undefined, ...changes }));
};

test("a new key is the last line, in the file's own kind of line", (t) => {
  t.is(add(""), `new:${fresh}\n`);
  t.is(add(`a:${key}\n`), `a:${key}\nnew:${fresh}\n`);
  t.is(add(`a:${key}`), `a:${key}\nnew:${fresh}\n`, "a last line without an end gets one");
  t.is(add(`# mine\r\na:${key}\r\n`), `# mine\r\na:${key}\r\nnew:${fresh}\r\n`);
  t.is(add("\ufeff"), `\ufeffnew:${fresh}\n`);
});

test("only what is given is written", (t) => {
  t.is(add("", { limits: "60" }), `new:${fresh}:60\n`);
  t.is(add("", { limits: "60//2", expiry: "2026-12-31" }), `new:${fresh}:60//2:2026-12-31\n`);
  t.is(add("", { expiry: "2026-12-31T10:00Z" }), `new:${fresh}::2026-12-31T10:00Z\n`);
  t.is(add("", { hashed: true }), `new:${digestOf(fresh)}\n`);
});

test("an id is taken as soon as any line has it, also one that the server refuses", (t) => {
  for (const taken of [`new:${key}`, ` new : ${key}:60`, "new:REPLACE_WITH_KEY", "new:", "\u00a0new:x"]) {
    t.throws(() => add(`# keys\n${taken}\n`), { message: /^new exists already, in line 2;/ }, taken);
  }
  t.notThrows(() => add(`# new:${key}\nnewer:${key}\nnew-1:${other}\n`));
});

test("values that the server would refuse are not written", (t) => {
  t.throws(() => add("", { limits: "0" }), { message: /^limits: RPM/ });
  t.throws(() => add("", { expiry: "2026-02-30" }), { message: /^expiry: / });
  t.throws(() => add("", { keyId: "a\nb" }), { any: true });
  t.throws(() => add("", { keyId: "# a" }), { any: true });
});

test("removing takes every line of the id, and nothing else", (t) => {
  const text = `\ufeff# keys\r\na:${key}\r\n\r\n b:${other}:60 \r\n a : x\r\n# a:${key}\r\nab:${fresh}`;
  t.is(textOf(removeKey(lines(text), "a")), `\ufeff# keys\r\n\r\n b:${other}:60 \r\n# a:${key}\r\nab:${fresh}`);
  t.throws(() => removeKey(lines(text), "c"), { message: /^no key named c/ });
  t.is(textOf(removeKey(lines(`a:${key}`), "a")), "");
});

test("a rotated key stands in the place of the first old one, with its limits, expiry and form", (t) => {
  t.is(
    rotate(`# x\na:${key}:60//2:2026-12-31\nb:${other}\na:${other}\n`),
    `# x\na:${fresh}:60//2:2026-12-31\nb:${other}\n`,
  );
  t.is(rotate(`a:${digestOf(key)}::2026-12-31 10:00+02:00`), `a:${digestOf(fresh)}::2026-12-31 10:00+02:00\n`);
  t.throws(() => rotate(`b:${key}`), { message: /^no key named a/ });
});

test("what is said at the rotation wins over the old key's", (t) => {
  const old = `a:${key}:60/1000/2:2026-12-31\n`;
  t.is(rotate(old, { limits: "" }), `a:${fresh}::2026-12-31\n`);
  t.is(rotate(old, { limits: "5" }), `a:${fresh}:5:2026-12-31\n`);
  t.is(rotate(old, { requestsPerMinute: "7" }), `a:${fresh}:7/1000/2:2026-12-31\n`);
  t.is(rotate(`a:${key}\n`, { requestsPerMinute: "7" }), `a:${fresh}:7\n`);
  t.is(rotate(old, { expiry: "" }), `a:${fresh}:60/1000/2\n`);
  t.is(rotate(old, { hashed: true }), `a:${digestOf(fresh)}:60/1000/2:2026-12-31\n`);
  t.is(rotate(`a:${digestOf(key)}\n`, { hashed: false }), `a:${fresh}\n`);
});

test("the first line that the server loads is the model; a refused one may be it when its fields are right", (t) => {
  t.is(rotate(`a:short:5\na:${key}:60\n`), `a:${fresh}:60\n`);
  t.is(rotate("a:REPLACE_WITH_KEY:60\n"), `a:${fresh}:60\n`);
  t.throws(() => rotate(`a:${key}:0\n`), { message: /^line 1, limits: RPM .*--limits/ });
  t.is(rotate(`a:${key}:0\n`, { limits: "1" }), `a:${fresh}:1\n`);
});

const untilMs = Date.UTC(2026, 5, 1, 12);

test("an old key that is kept ends at the given moment, or at its own if that is sooner", (t) => {
  const keep = (old: string) => rotate(old, { keepOldUntilMs: untilMs });
  t.is(keep(`a:${key}:60\nb:${other}\n`), `a:${fresh}:60\na:${key}:60:2026-06-01T12:00:00Z\nb:${other}\n`);
  t.is(keep(`a:${digestOf(key)}\n`), `a:${digestOf(fresh)}\na:${digestOf(key)}::2026-06-01T12:00:00Z\n`);
  const later = "2026-06-01T12:00:01Z";
  t.is(keep(`a:${key}::${later}\n`), `a:${fresh}::${later}\na:${key}::2026-06-01T12:00:00Z\n`);
  const sooner = ` a : ${key} : 60 : 2026-06-01 13:00+01:00 `;
  t.is(keep(`${sooner}\r\n`), `a:${fresh}:60:2026-06-01 13:00+01:00\r\n${sooner}\r\n`, "its line stays as it is");
  t.is(keep(`a:${key}\na:${other}\n`), `a:${fresh}\na:${key}::2026-06-01T12:00:00Z\n`, "only the first one is kept");
  t.throws(() => keep("a:REPLACE_WITH_KEY\n"), { message: /no valid key that could be kept \(line 1\)/ });
});

test("a new key that is dead from the start is noticed", (t) => {
  const file = lines(`a:${key}::2026-06-01\na:${other}\nb:${fresh}\n`);
  t.true(isExpired(file, "a", untilMs));
  t.false(isExpired(file, "a", Date.UTC(2026, 4, 31)));
  t.false(isExpired(file, "b", untilMs));
  t.false(isExpired(file, "c", untilMs));
});

const anyFile = fc
  .array(
    fc.oneof(
      fc.constantFrom(
        `a:${key}`,
        ` a : ${other}:60`,
        `b:${other}`,
        "# a:x",
        "",
        "a",
        "\ufeffa:x",
        "\u00a0a:y",
        "\u2028a:",
      ),
      fc.string({ unit: "binary", maxLength: 20 }),
      fc.uint8Array({ maxLength: 12 }).map((bytes) => Buffer.from(bytes).toString("latin1")),
    ),
    { maxLength: 12 },
  )
  .chain((texts) =>
    fc
      .array(fc.constantFrom("\n", "\r\n", "\r", ""), { minLength: texts.length, maxLength: texts.length })
      .map((ends) => Buffer.from(texts.map((text, index) => text + ends[index]).join(""), "latin1")),
  );

test("any file: it comes apart and together again byte for byte, and its lines have the parser's numbers", (t) => {
  fc.assert(
    fc.property(anyFile, (bytes) => {
      const file = splitLines(bytes);
      t.deepEqual(joinLines(file), bytes);
      for (const { keyId, line } of parseKeyFile(bytes.toString("utf8")).entries) {
        t.true(findLines(file, keyId).includes(line - 1));
      }
    }),
    { numRuns: 3000 },
  );
});

test("any file: adding, rotating and removing a key changes no other line and brings back the file", (t) => {
  fc.assert(
    fc.property(anyFile, (bytes) => {
      const before = splitLines(bytes);
      const added = addKey(before, { keyId: "new", key: fresh, hashed: false, limits: "60", expiry: "" });
      t.is(parseKeyFile(textOf(added)).entries.at(-1)?.keyId, "new");
      const kept = rotateKey(added, { ...asBefore, keyId: "new", key: `${fresh}1`, keepOldUntilMs: untilMs });
      t.deepEqual(findLines(kept, "new").length, 2);
      const after = joinLines(removeKey(kept, "new"));
      t.true(after.subarray(0, bytes.length).equals(bytes));
      t.regex(after.subarray(bytes.length).toString(), /^(\r\n|\n|\r)?$/);
    }),
    { numRuns: 2000 },
  );
});
