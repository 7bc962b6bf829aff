// Long texts on their way to the addon: slices of UTF-8 that are the text together, and turns of the event loop in between.
import test from "ava";
import { endsWithText, type TextBytes, toTextBytes } from "../../src/engine/text-bytes.ts";
import { turnsDuring } from "../helpers/loop.ts";

const sliceCharacters = 256 * 1024;

const joined = (text: TextBytes): string => (typeof text === "string" ? text : Buffer.concat(text).toString());

test("a short text is handed on as it is", async (t) => {
  const text = "é".repeat(sliceCharacters);
  t.is(await toTextBytes(text), text);
});

test("slices cut no character in two, wherever they end", async (t) => {
  for (const before of [0, 1]) {
    const text = `${"x".repeat(before)}${"😀".repeat(sliceCharacters)}é`;
    t.is(joined(await toTextBytes(text)), text);
  }
});

test("others get their turn after every slice", async (t) => {
  const turns = await turnsDuring(() => toTextBytes("x".repeat(8 * sliceCharacters)));
  t.true(turns >= 8, `${turns}`);
});

test("what bytes end with", (t) => {
  const bytes = Buffer.from("aé中");
  t.deepEqual(
    ["", "中", "é中", "aé中", "é", "xaé中"].map((text) => endsWithText(bytes, text)),
    [true, true, true, true, false, false],
  );
});
