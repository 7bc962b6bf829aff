// Answers in pieces: the JSON is that of the pieces together, and other work gets its turn between them.
import test from "ava";
import { answerInPieces, textMember } from "../../src/http/long-answer.ts";
import { startServer, withKey } from "../helpers/server.ts";

test("the pieces are one JSON answer with its length, and between two of them the loop turns", async (t) => {
  let turns = 0;
  const seen: number[] = [];
  function* pieces(): Generator<string> {
    for (const piece of ['{"a":"', "é".repeat(100_000), '"}']) {
      seen.push(turns);
      setImmediate(() => {
        turns += 1;
      });
      yield piece;
    }
  }
  const handler: Parameters<typeof startServer>[1] = [
    { method: "GET", path: "/long", class: "public", handler: (ctx) => answerInPieces(ctx, pieces()) },
  ];
  const { url, close } = await startServer({}, handler);
  t.teardown(close);
  const answer = await fetch(`${url}/long`, { headers: withKey });
  const text = await answer.text();
  t.is(answer.headers.get("content-type"), "application/json; charset=utf-8");
  t.is(answer.headers.get("content-length"), String(Buffer.byteLength(text)));
  t.deepEqual(JSON.parse(text), { a: "é".repeat(100_000) });
  t.deepEqual(seen, [0, 1, 2]);
});

test("a text's slices may part its characters", (t) => {
  const text = '\ufeffé中😀"\n\\';
  const bytes = Buffer.from(text);
  for (let cut = 0; cut <= bytes.length; cut++) {
    const written = [...textMember("prompt", [bytes.subarray(0, cut), bytes.subarray(cut)])].join("");
    t.is(written, JSON.stringify({ prompt: text }), `${cut}`);
  }
});
