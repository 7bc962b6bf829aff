import test from "ava";
import fc from "fast-check";
import { StopStrings, TextStream, TokenPieces } from "../../src/engine/text-stream.ts";

/** A vocabulary in which token i is the given bytes. */
function pieces(...tokens: (string | Uint8Array)[]): TokenPieces {
  const parts = tokens.map((token) => Buffer.from(token as Uint8Array));
  const offsets = new Uint32Array(parts.length + 1);
  parts.forEach((part, i) => {
    offsets[i + 1] = offsets[i]! + part.length;
  });
  return new TokenPieces({ bytes: Buffer.concat(parts), offsets });
}

/** One token per byte value. */
const byteVocabulary = pieces(...Array.from({ length: 256 }, (_, byte) => Uint8Array.of(byte)));

function stream(vocabulary: TokenPieces, stop: string[] = [], preserved: number[] = []): TextStream {
  return new TextStream(vocabulary, pieces("<special>", "b"), new Set(preserved), stop);
}

test("characters that span tokens come out whole", (t) => {
  const text = stream(byteVocabulary);
  const out = [...Buffer.from("é🚀 x")].map((byte) => text.push(byte));
  t.deepEqual(out, ["", "é", "", "", "", "🚀", " ", "x"]);
  t.is(text.end(), "");
});

test("an unfinished character at the end becomes U+FFFD", (t) => {
  const text = stream(byteVocabulary);
  t.is(text.push(0xf0) + text.push(0x9f), "");
  t.is(text.end(), "\uFFFD");
});

test("a byte order mark inside an answer is text", (t) => {
  const text = stream(pieces("\uFEFFa"));
  t.is(text.push(0), "\uFEFFa");
});

test("preserved special tokens show their text, others their plain piece", (t) => {
  const text = stream(pieces("", "b"), [], [0]);
  t.is(text.push(0) + text.push(1), "<special>b");
  t.is(stream(pieces("", "b")).push(0), "");
});

test("a stop string across tokens is cut out and what precedes it is delivered", (t) => {
  const text = stream(pieces("one S", "TO", "P two"), ["STOP"]);
  t.is(text.push(0), "one ");
  t.is(text.push(1), "");
  t.is(text.push(2), "");
  t.is(text.stopString, "STOP");
  t.is(text.end(), "");
});

test("a beginning of a stop string that comes to nothing is delivered", (t) => {
  const text = stream(pieces("a S", "TO", "X"), ["STOP"]);
  t.is(text.push(0) + text.push(1) + text.push(2) + text.end(), "a STOX");
  t.is(text.stopString, null);
});

test("the earliest start wins, then the order of the list", (t) => {
  const early = new StopStrings(["cd", "bcd"]);
  t.is(early.push("abcd"), "a");
  t.is(early.matched, "bcd");
  const order = new StopStrings(["ab", "abc"]);
  t.is(order.push("abc"), "");
  t.is(order.matched, "ab");
});

test("any bytes give the text that decoding them at once gives", (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
      const text = stream(byteVocabulary);
      const pieced = [...bytes].map((byte) => text.push(byte)).join("") + text.end();
      t.is(pieced, new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes));
    }),
    { numRuns: 2000 },
  );
});

test("stop strings: released text never reaches into a match, whatever the pieces", (t) => {
  const letters = fc.constantFrom("a", "b", "c");
  const word = (min: number, max: number) =>
    fc.array(letters, { minLength: min, maxLength: max }).map((all) => all.join(""));
  fc.assert(
    fc.property(
      fc.array(word(0, 4), { maxLength: 12 }),
      fc.array(word(1, 4), { minLength: 1, maxLength: 3 }),
      (parts, stops) => {
        const finder = new StopStrings(stops);
        let out = "";
        let seen = "";
        for (const part of parts) {
          if (finder.matched !== null) break;
          out += finder.push(part);
          seen += part;
        }
        out += finder.end();
        const starts = stops.map((stop) => seen.indexOf(stop)).filter((start) => start !== -1);
        t.is(out, starts.length > 0 ? seen.slice(0, Math.min(...starts)) : seen);
        t.is(finder.matched !== null, starts.length > 0);
      },
    ),
    { numRuns: 5000 },
  );
});
