import test from "ava";
import type { GenerationEvent, ScoredToken } from "../../src/engine/engine.ts";
import { Generation } from "../../src/engine/generation.ts";
import { Sequence } from "../../src/engine/sequences.ts";
import { TokenPieces } from "../../src/engine/text-stream.ts";
import { request } from "../helpers/requests.ts";

/** Token i is the i-th text; the last one ends an answer. */
function generationOf(texts: (string | Uint8Array)[], overrides: Parameters<typeof request>[1] = {}) {
  const parts = texts.map((text) => Buffer.from(text as Uint8Array));
  const offsets = new Uint32Array(parts.length + 1);
  parts.forEach((part, i) => {
    offsets[i + 1] = offsets[i]! + part.length;
  });
  const pieces = new TokenPieces({ bytes: Buffer.concat(parts), offsets });
  const vocabulary = { pieces, specialPieces: pieces, endTokens: new Set([texts.length - 1]) };
  const nothing = () => {};
  const generation = new Generation(request([1], { logprobs: 0, ...overrides }), 0, vocabulary, nothing, nothing);
  generation.start(new Sequence(0), 0);
  return generation;
}

const logprobOf = (token: number): ScoredToken => ({ token, bytes: new Uint8Array(), logprob: -token, top: [] });

/** Accepts tokens one a step and tells which text came with which tokens' log-probabilities. */
async function run(generation: Generation, tokens: number[]): Promise<[text: string, tokens: number[]][]> {
  for (const token of tokens) {
    generation.accept(token, logprobOf(token));
    generation.deliver();
    if (generation.finished) break;
  }
  const deltas: [string, number[]][] = [];
  for await (const event of generation.events as AsyncIterable<GenerationEvent>) {
    if (event.type === "finish") break;
    if (event.type !== "delta") throw new Error(`an event of type ${event.type}`);
    const text = event.parts.map((part) => ("text" in part ? part.text : "")).join("");
    deltas.push([text, (event.logprobs ?? []).map(({ token }) => token)]);
  }
  return deltas;
}

test("a log-probability rides on the delta that carries its token's text, an end token has none", async (t) => {
  const deltas = await run(generationOf(["a", "b", "<end>"]), [0, 1, 2]);
  t.deepEqual(deltas, [
    ["a", [0]],
    ["b", [1]],
  ]);
});

test("a token inside a character rides with the one that completes it", async (t) => {
  const [first, second] = [Buffer.from("é").subarray(0, 1), Buffer.from("é").subarray(1)];
  const deltas = await run(generationOf([first, second, "!", "<end>"]), [0, 1, 2, 3]);
  t.deepEqual(deltas, [
    ["é", [0, 1]],
    ["!", [2]],
  ]);
});

test("text held back for a stop string keeps its log-probabilities with it", async (t) => {
  const deltas = await run(generationOf(["x", "S", "o", "<end>"], { stop: ["STOP"] }), [0, 1, 2, 3]);
  t.deepEqual(deltas, [
    ["x", [0]],
    ["So", [1, 2]],
  ]);
});

test("tokens wholly inside a cut stop string have none, one that only reaches into it does", async (t) => {
  const deltas = await run(generationOf(["x", "yST", "OP", "<end>"], { stop: ["STOP"] }), [0, 1, 2]);
  t.deepEqual(deltas, [
    ["x", [0]],
    ["y", [1]],
  ]);
});

test("at the end of an answer nothing is left behind", async (t) => {
  const half = Buffer.from("é").subarray(0, 1);
  const deltas = await run(generationOf(["a", half, "<end>"], { maxTokens: 2 }), [0, 1]);
  t.deepEqual(deltas, [
    ["a", [0]],
    ["\uFFFD", [1]],
  ]);
});

test("a log-probability says where in the text its token begins, also behind one that is no text", async (t) => {
  const generation = generationOf(["ab", "", "😀", "c", "<end>"]);
  for (const token of [0, 1, 2, 3, 4]) {
    generation.accept(token, logprobOf(token));
    generation.deliver();
  }
  const starts: number[][] = [];
  for await (const event of generation.events) {
    if (event.type === "delta") starts.push((event.logprobs ?? []).map(({ start }) => start));
  }
  t.deepEqual(starts, [[0], [2, 2], [4]]);
});

test("when its time is over an answer ends with its line", async (t) => {
  const generation = generationOf(["a", "b\n", "c", "<end>"], { maxDecodeMs: 0 });
  t.deepEqual(await run(generation, [0, 2, 1, 0]), [
    ["a", [0]],
    ["c", [2]],
    ["b\n", [1]],
  ]);
  const patient = generationOf(["a", "b\n", "<end>"], { maxDecodeMs: 86_400_000 });
  t.is((await run(patient, [1, 0, 2])).length, 2);
});
