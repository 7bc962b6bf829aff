// POST /tokenize and /detokenize over the mock engine, whose tokens are bytes.
import test from "ava";
import { startMockApi } from "../helpers/mock-api.ts";
import { jsonOf } from "../helpers/server.ts";

const ids = (text: string) => [...Buffer.from(text)].map((byte) => byte + 3);

test("text and token ids become tokens", async (t) => {
  const { post } = await startMockApi(t);
  const tokens = async (body: object) => (await jsonOf(await post("/tokenize", body))).tokens;
  t.deepEqual(await tokens({ content: "Hi" }), ids("Hi"));
  t.deepEqual(await tokens({ content: "Hi", add_special: true }), [1, ...ids("Hi")]);
  t.deepEqual(await tokens({ content: [7, "Hi"], add_special: true }), [7, ...ids("Hi")]);
  t.deepEqual(await tokens({}), []);
});

test("a piece is text, or bytes where it is a part of a character", async (t) => {
  const { post } = await startMockApi(t);
  const { tokens } = await jsonOf(await post("/tokenize", { content: "aé", with_pieces: true, other: 1 }));
  t.deepEqual(tokens, [
    { id: 97 + 3, piece: "a" },
    { id: 0xc3 + 3, piece: [0xc3] },
    { id: 0xa9 + 3, piece: [0xa9] },
  ]);
});

test("tokens become text", async (t) => {
  const { post } = await startMockApi(t);
  const answer = await post("/detokenize", { tokens: ids("Grüße"), other: 1 });
  t.is(answer.headers.get("x-ignored-parameters"), "other");
  t.deepEqual(await jsonOf(answer), { content: "Grüße" });
  t.deepEqual(await jsonOf(await post("/detokenize", {})), { content: "" });
});

test("an id outside the vocabulary is refused with its place", async (t) => {
  const { post, engine } = await startMockApi(t);
  const answer = await post("/detokenize", { tokens: [5, engine.model.vocabSize] });
  t.is(answer.status, 400);
  t.like((await jsonOf(answer)).error, { code: "invalid_value", param: "tokens[1]" });
});

test("long answers are the same as short ones put together, also where a character is in two slices", async (t) => {
  const { post } = await startMockApi(t);
  const text = `a${"é🦊".repeat(5000)}`;
  const { tokens } = await jsonOf(await post("/tokenize", { content: text }));
  t.deepEqual(tokens, ids(text));
  const { tokens: pieces } = await jsonOf(await post("/tokenize", { content: text, with_pieces: true }));
  t.is(pieces.length, tokens.length);
  t.deepEqual(pieces[8192], { id: tokens[8192], piece: [tokens[8192] - 3] });
  t.deepEqual(await jsonOf(await post("/detokenize", { tokens })), { content: text });
  t.deepEqual(await jsonOf(await post("/detokenize", { tokens: [...tokens, 0xc3 + 3] })), { content: `${text}\ufffd` });
});
