// The header x-ignored-parameters: names in order, cleaned, at most 1024 bytes.
import test from "ava";
import fc from "fast-check";
import { formatIgnored } from "../../src/openai/ignored-parameters.ts";

test("names are joined, and characters that do not belong into a header become question marks", (t) => {
  t.is(formatIgnored([]), undefined);
  t.is(formatIgnored(["a", "tools[2]=web_search"]), "a, tools[2]=web_search");
  t.is(formatIgnored(["a b", "é\r\nx", "😀"]), "a?b, ???x, ?");
});

test("a list over 1024 bytes is cut and ends in dots", (t) => {
  t.is(formatIgnored(["x".repeat(1024)]), "x".repeat(1024));
  const cut = formatIgnored(["x".repeat(1023), "y"])!;
  t.is(cut.length, 1024);
  t.true(cut.endsWith("..."));
});

test("whatever the names, the header is short and safe", (t) => {
  fc.assert(
    fc.property(fc.array(fc.string({ unit: "binary", maxLength: 300 }), { maxLength: 8 }), (names) => {
      const header = formatIgnored(names) ?? "";
      return header.length <= 1024 && /^[\x20-\x7e]*$/.test(header);
    }),
  );
  t.pass();
});
