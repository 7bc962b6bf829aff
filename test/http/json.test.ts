// What is a JSON body and what is not, and that the refusal names why and the byte.
import test from "ava";
import fc from "fast-check";
import { Failure } from "../../src/errors.ts";
import { parseInTurns, parseJsonObject } from "../../src/http/json.ts";
import { findSyntaxError } from "../../src/http/json-syntax.ts";
import { turnsDuring } from "../helpers/loop.ts";

function refusal(body: string | Uint8Array): string {
  try {
    parseJsonObject(Buffer.from(body as Uint8Array));
  } catch (error) {
    if (error instanceof Failure && error.kind === "invalid_json") return error.message;
    throw error;
  }
  return "accepted";
}

const why = (text: string, byte: number) => `The body is not valid JSON: ${text} (byte ${byte}).`;

const nested = (levels: number) => `{"a":${"[".repeat(levels - 1)}${"]".repeat(levels - 1)}}`;

const cases: [name: string, body: string | Uint8Array, message: string][] = [
  ["an empty body", "", why("it is empty", 0)],
  ["blanks only", " \n", why("it ends too early", 2)],
  ["an array", " []", why("expected an object, got an array", 1)],
  ["null", "null", why("expected an object, got null", 0)],
  ["a string", '"a"', why("expected an object, got a string", 0)],
  ["a number", "3", why("expected an object, got a number", 0)],
  ["a boolean", "true", why("expected an object, got a boolean", 0)],
  ["form data", "a=b&c=d", why("expected a value", 0)],
  ["a cut body", '{"a":[1,2', why("it ends too early", 9)],
  ["a trailing comma", '{"a":1,}', why("expected a quoted name", 7)],
  ["single quotes", "{'a':1}", why("expected a quoted name", 1)],
  ["a missing colon", '{"a" 1}', why("expected a colon", 5)],
  ["a missing comma", '{"a":[1 2]}', why("expected a comma or ]", 8)],
  ["a second value", '{"a":1}{', why("unexpected text after the value", 7)],
  ["a leading zero", '{"a":01}', why("expected a value", 5)],
  ["NaN", '{"a":NaN}', why("expected a value", 5)],
  ["a raw line break in a string", '{"a":"b\nc"}', why("a string holds a control character that is not escaped", 7)],
  ["an unknown escape", '{"a":"\\x"}', why("a string holds an escape that JSON does not know", 6)],
  ["an open string", '{"a":"b', why("a string is not closed", 7)],
  ["a position counted in bytes", '{"ä€😀":1 2}', why("expected a comma or }", 15)],
  ["a byte order mark", "\ufeff{}", why("expected a value", 0)],
  ["bytes that are not UTF-8", Buffer.from('{"a":"\xff"}', "latin1"), why("it is not UTF-8", 6)],
  ["a surrogate as bytes", Buffer.from([0x7b, 0x22, 0xed, 0xa0, 0x80]), why("it is not UTF-8", 3)],
  ["a character cut at the end", Buffer.from([0x7b, 0x22, 0xe2, 0x82]), why("it is not UTF-8", 4)],
  ["a lone high surrogate", '{"a":"\\ud83d"}', why("a string holds an unpaired surrogate", 6)],
  ["a lone low surrogate in a name", '{"b\\uDE00":1}', why("a string holds an unpaired surrogate", 3)],
  ["surrogates in the wrong order", '{"a":"\\ude00\\ud83d"}', why("a string holds an unpaired surrogate", 6)],
  ["65 levels", nested(65), why("it is nested deeper than 64", 68)],
  [
    "more than 100000 parts",
    `{"a":[${"{},".repeat(100_000)}`,
    why("it has more than 100000 objects, arrays, names and texts", 5 + 3 * 99_997 + 1),
  ],
  ["more than 500000 values", `{"a":[${"1,".repeat(500_001)}`, why("it has more than 500000 values", 1_000_007)],
  [
    "an object of more than 4096 members",
    `{"a":{${'"a":1,'.repeat(4097)}`,
    why("an object has more than 4096 members", 6 + 4096 * 6 + 3),
  ],
  ["a million levels", "[".repeat(1_000_000), why("it is nested deeper than 64", 64)],
];

for (const [name, body, message] of cases) {
  test(`${name} is refused with its reason and byte`, (t) => {
    t.is(refusal(body), message);
  });
}

test("as many parts, values and members as are allowed pass, and what is inside a text counts nothing", (t) => {
  const parts = `{"a":[${"[],".repeat(99_996)}"{}:,"]}`;
  t.is((parseJsonObject(Buffer.from(parts)).a as unknown[]).length, 99_997);
  t.is((parseJsonObject(Buffer.from(`{"a":[${"1,".repeat(500_000)}1]}`)).a as unknown[]).length, 500_001);
  const members = Array.from({ length: 4095 }, (_, i) => `"${i}":{}`).join();
  t.is(Object.keys(parseJsonObject(Buffer.from(`{${members},"b":${"1"}}`))).length, 4096);
  t.is(parseJsonObject(Buffer.from(JSON.stringify({ a: ':{[,"'.repeat(200_000) }))).a, ':{[,"'.repeat(200_000));
});

test("64 levels pass, and brackets inside strings are no levels", (t) => {
  t.is(refusal(nested(64)), "accepted");
  t.is(refusal(JSON.stringify({ a: `${"[".repeat(100)}\\"${"{".repeat(100)}\\` })), "accepted");
});

test("a surrogate pair as escapes passes, and an escaped backslash before ud800 is no surrogate", (t) => {
  t.deepEqual(parseJsonObject(Buffer.from('{"a":"\\uD83D\\uDE00","b":"\\\\ud800"}')), { a: "😀", b: "\\ud800" });
});

test("a wrong byte is found wherever it stands, also around the edges of the pieces that are decoded", (t) => {
  const character = Buffer.from("😀");
  for (const at of [0, 1, 4093, 4094, 4095, 4096, 4097, 8190, 8192, 20_000]) {
    const body = Buffer.concat([Buffer.alloc(at, 0x20), character, Buffer.from([0xff])]);
    t.is(refusal(body), why("it is not UTF-8", at + 4));
  }
});

test("any object comes back as JSON.parse reads it", (t) => {
  fc.assert(
    fc.property(fc.dictionary(fc.string({ unit: "grapheme" }), fc.jsonValue({ maxDepth: 6 })), (value) => {
      const text = JSON.stringify(value);
      t.deepEqual(parseJsonObject(Buffer.from(text)), JSON.parse(text));
    }),
    { numRuns: 200 },
  );
});

test("whatever JSON.parse refuses has a place where it goes wrong; nothing else is thrown", (t) => {
  const pieces = fc.constantFrom(
    ...'{}[]:,"\\ \n-+.eE01u9',
    "true",
    "null",
    "nul",
    '"a"',
    '\\"',
    "\\u12",
    "\\ud8",
    "é",
  );
  fc.assert(
    fc.property(fc.array(pieces, { maxLength: 24 }), (parts) => {
      const text = parts.join("");
      const message = refusal(text);
      let parses = true;
      try {
        JSON.parse(text);
      } catch {
        parses = false;
      }
      if (parses || text === "") return;
      t.true(message.startsWith("The body is not valid JSON: "));
      const { at, why } = findSyntaxError(text);
      t.true(at < text.length || ["it ends too early", "a string is not closed"].includes(why), JSON.stringify(text));
    }),
    { numRuns: 5000 },
  );
});

test("10 MB of refused text are refused without trouble", (t) => {
  const long = "x".repeat(10_000_000);
  t.is(refusal(`{"a":"${long}`), why("a string is not closed", long.length + 6));
  t.is(refusal(`{"a":"${"\\n".repeat(1_000_000)}"`), why("it ends too early", 2_000_007));
});

test("10 MB of escapes are read, or refused at their end, in one go", (t) => {
  t.timeout(10_000);
  const kinds = ['\\"', "\\\\", "a\\n", "\\ud83d\\ude00", "é"];
  for (const kind of kinds) {
    const text = kind.repeat(1_000_000);
    t.is((parseJsonObject(Buffer.from(`{"a":"${text}"}`)).a as string).length, JSON.parse(`"${text}"`).length);
    const end = 6 + Buffer.byteLength(text);
    t.is(refusal(`{"a":"${text}\n"}`), why("a string holds a control character that is not escaped", end));
    t.is(refusal(`{"a":"${text}\\ud800"}`), why("a string holds an unpaired surrogate", end));
  }
});

test("a body that is read in turns is the same object, or refused with the same words", async (t) => {
  const turns = await turnsDuring(async () =>
    t.deepEqual(await parseInTurns(Buffer.from('{"a":[1,"é"]}')), { a: [1, "é"] }),
  );
  t.true(turns >= 3, `${turns}`);
  const broken = `{"a":[${"1 , 2.5e3,\n".repeat(1000)}}`;
  const message = why("expected a value", Buffer.byteLength(broken) - 1);
  const turnsOfRefusal = await turnsDuring(async () => {
    await t.throwsAsync(parseInTurns(Buffer.from(broken)), { instanceOf: Failure, message });
  });
  t.true(turnsOfRefusal >= 3, `${turnsOfRefusal}`);
  t.is(refusal(broken), message);
});
