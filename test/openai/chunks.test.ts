// Events become chunks, or fold into one reply, with the members and key order of API.md sections 6.6, 7 and 8.
import test from "ava";
import fc from "fast-check";
import type { AnswerPart, GenerationEvent } from "../../src/engine/engine.ts";
import { createMockEngine } from "../../src/engine/mock-engine.ts";
import { type AnswerForm, ChoiceFold, type Chunk, createHead, TextChunk } from "../../src/openai/answer.ts";
import { ChatAnswer } from "../../src/openai/chat-chunks.ts";
import { CompletionAnswer } from "../../src/openai/completion-chunks.ts";
import { newId } from "../../src/openai/ids.ts";
import { InfillAnswer } from "../../src/openai/infill-answer.ts";
import { ResponseAnswer } from "../../src/openai/responses-events.ts";
import { sumUsage } from "../../src/openai/usage.ts";

const head = { id: "id-1", created: 7, model: "served", fingerprint: "b1" };
const delta = (...parts: AnswerPart[]): GenerationEvent => ({ type: "delta", parts });
const content = (text: string): AnswerPart => ({ kind: "content", text });
const reasoning = (text: string): AnswerPart => ({ kind: "reasoning", text });

function finish(reason: "stop" | "length" = "stop", usage = {}): Extract<GenerationEvent, { type: "finish" }> {
  const counts = { promptTokens: 9, cachedTokens: 0, completionTokens: 2, reasoningTokens: 0, ...usage };
  return {
    type: "finish",
    reason,
    stopString: null,
    usage: counts,
    timings: { queueMs: 0, prefillMs: 0, decodeMs: 0 },
  };
}

const responseEcho = {
  ...{ instructions: null, max_output_tokens: null, metadata: {}, parallel_tool_calls: true, temperature: 1, text: {} },
  ...{ reasoning: { effort: null, summary: null }, tool_choice: "auto", tools: [], top_p: 1 },
};

const jsonOf = (chunk: Chunk): string => (typeof chunk === "string" ? chunk : JSON.stringify(chunk));

/** What a fold makes of one answer. */
function folded(...parts: AnswerPart[]) {
  const fold = new ChoiceFold();
  fold.add(delta(...parts));
  fold.add(finish());
  return fold.result();
}

const usage = sumUsage([finish().usage], 1);
const usageText =
  '{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11,"prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}';

test("chat: the role comes once per choice, then reasoning, content and an empty finish", (t) => {
  const answer = new ChatAnswer(head, { reasoningField: "reasoning_content", includeUsage: false });
  const lines = [
    ...answer.chunks({ choice: 0, event: delta(reasoning("Hm"), content("Hi")) }),
    ...answer.chunks({ choice: 0, event: delta(content(" é")) }),
    ...answer.chunks({ choice: 0, event: finish() }),
  ].map(jsonOf);
  const expected = (inner: string, reason = "null") =>
    `{"id":"id-1","object":"chat.completion.chunk","created":7,"model":"served","system_fingerprint":"b1","choices":[{"index":0,"delta":${inner},"logprobs":null,"finish_reason":${reason}}]}`;
  t.deepEqual(lines, [
    expected('{"role":"assistant","content":""}'),
    expected('{"reasoning_content":"Hm"}'),
    expected('{"content":"Hi"}'),
    expected('{"content":" é"}'),
    expected("{}", '"stop"'),
  ]);
});

test("chat: an empty answer is a role chunk and a finish chunk; choices do not share a role", (t) => {
  const answer = new ChatAnswer(head, { reasoningField: "reasoning_content", includeUsage: false });
  t.is(answer.chunks({ choice: 1, event: finish("length") }).length, 2);
  t.like(answer.chunks({ choice: 0, event: delta(content("x")) })[0], {
    choices: [{ index: 0, delta: { role: "assistant", content: "" } }],
  });
});

test("chat: with usage every chunk says usage null and the last one has it and no choices", (t) => {
  const answer = new ChatAnswer(head, { reasoningField: "reasoning_content", includeUsage: true });
  for (const chunk of answer.chunks({ choice: 0, event: delta(content("x")) })) {
    t.true(jsonOf(chunk).endsWith('],"usage":null}'));
  }
  t.is(
    JSON.stringify(answer.usageChunk(usage)),
    `{"id":"id-1","object":"chat.completion.chunk","created":7,"model":"served","system_fingerprint":"b1","choices":[],"usage":${usageText}}`,
  );
});

test("log-probabilities of a plain answer are made as its tokens come, not all at its end", (t) => {
  let reads = 0;
  const scored = (text: string) => ({
    token: 1,
    logprob: -1,
    get bytes() {
      reads += 1;
      return Buffer.from(text);
    },
  });
  const tokens = Array.from({ length: 50 }, (_, index) => `${index} `);
  const events = tokens.map((text): GenerationEvent => {
    const entry = Object.assign(scored(text), { start: 0, top: [scored("a"), scored("b")] });
    return { type: "delta", parts: [content(text)], logprobs: [entry] };
  });
  const forms: Record<string, AnswerForm> = {
    chat: new ChatAnswer(head, { reasoningField: "both", includeUsage: false }),
    "chat n_probs": new ChatAnswer(head, { reasoningField: "both", includeUsage: false, nativeLogprobs: true }),
    "completions n_probs": new CompletionAnswer(head, { includeUsage: false, choices: 1, n: 1, nativeLogprobs: true }),
    completions: new CompletionAnswer(head, { includeUsage: false, choices: 1, n: 1, logprobs: 2 }),
    infill: new InfillAnswer({
      ...{ model: "m", prompt: "p", promptTokens: 1, generationSettings: {}, timingsPerToken: false },
    }),
    responses: new ResponseAnswer(head, responseEcho),
  };
  for (const [name, form] of Object.entries(forms)) {
    const fold = new ChoiceFold();
    for (const event of [...events, finish()]) {
      const before = reads;
      fold.add(event);
      form.observe!({ choice: 0, event });
      t.true(reads - before <= 12, `${name}: ${reads - before}`);
    }
    const before = reads;
    const reply = JSON.stringify(form.reply([fold.result()], usage));
    t.is(reads, before, name);
    for (const text of tokens) t.true(reply.includes(`"${text}"`), name);
  }
});

test("chat: REASONING_FIELD names the keys in chunks and in the reply", (t) => {
  const keys = {
    reasoning_content: ["reasoning_content"],
    reasoning: ["reasoning"],
    both: ["reasoning_content", "reasoning"],
  };
  for (const [field, expected] of Object.entries(keys)) {
    const answer = new ChatAnswer(head, { reasoningField: field as "both", includeUsage: false });
    const [, chunk] = answer.chunks({ choice: 0, event: delta(reasoning("Hm")) });
    t.deepEqual(
      (chunk as { choices: { delta: object }[] }).choices[0]!.delta,
      Object.fromEntries(expected.map((key) => [key, "Hm"])),
    );
    const reply = answer.reply([folded(reasoning("Hm"), content("Hi"))], usage);
    const { message } = (reply as { choices: { message: object }[] }).choices[0]!;
    t.deepEqual(message, {
      role: "assistant",
      content: "Hi",
      refusal: null,
      ...Object.fromEntries(expected.map((key) => [key, "Hm"])),
    });
  }
});

test("chat: the whole reply, byte for byte", (t) => {
  const reply = new ChatAnswer(head, { reasoningField: "both", includeUsage: true }).reply(
    [folded(content("Hi"))],
    usage,
  );
  t.is(
    JSON.stringify(reply),
    `{"id":"id-1","object":"chat.completion","created":7,"model":"served","system_fingerprint":"b1","choices":[{"index":0,"message":{"role":"assistant","content":"Hi","refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":${usageText}}`,
  );
});

test("a text in a chunk made before is written as the whole chunk would be", (t) => {
  const make = (text: string) => ({
    id: "a",
    choices: [{ delta: { reasoning_content: text, reasoning: text }, n: null }],
  });
  const chunk = new TextChunk(make);
  const texts = fc.oneof(fc.string({ unit: "binary" }), fc.constantFrom("", "\0", '"', "\ud800", "$&", "\u2028"));
  fc.assert(fc.property(texts, (text) => chunk.of(text) === JSON.stringify(make(text))));
  t.pass();
});

test("chat: further pieces of one kind have every field that the first one has", (t) => {
  const answer = new ChatAnswer(head, { reasoningField: "both", includeUsage: true });
  const all = ["a", "b", "c"].flatMap((text) => answer.chunks({ choice: 3, event: delta(reasoning(text)) }));
  const pieces = all
    .slice(1)
    .map((chunk) => JSON.parse(jsonOf(chunk)) as { choices: [{ delta: { reasoning: string } }] });
  t.deepEqual(
    pieces.map(({ choices: [{ delta }] }) => delta.reasoning),
    ["a", "b", "c"],
  );
  const emptied = pieces.map((piece) => jsonOf(piece).replaceAll(/":"[abc]"/g, '":""'));
  t.is(new Set(emptied).size, 1);
});

test("completions: objects of a stream and the whole reply, byte for byte", (t) => {
  const answer = new CompletionAnswer(head, { includeUsage: false, choices: 1, n: 1 });
  const start =
    '{"id":"id-1","object":"text_completion","created":7,"model":"served","system_fingerprint":"b1","choices":';
  const lines = [
    ...answer.chunks({ choice: 2, event: delta(content("Hi")) }),
    ...answer.chunks({ choice: 2, event: delta(content(" you")) }),
    ...answer.chunks({ choice: 2, event: finish("length") }),
  ].map(jsonOf);
  t.deepEqual(lines, [
    `${start}[{"index":2,"text":"Hi","logprobs":null,"finish_reason":null}]}`,
    `${start}[{"index":2,"text":" you","logprobs":null,"finish_reason":null}]}`,
    `${start}[{"index":2,"text":"","logprobs":null,"finish_reason":"length"}]}`,
  ]);
  t.is(
    JSON.stringify(answer.reply([folded(content("Hi"))], usage)),
    `${start}[{"index":0,"text":"Hi","logprobs":null,"finish_reason":"stop"}],"usage":${usageText}}`,
  );
  const withUsage = new CompletionAnswer(head, { includeUsage: true, choices: 1, n: 1 });
  t.like(withUsage.chunks({ choice: 0, event: finish() })[0], { usage: null });
  t.is(JSON.stringify(withUsage.usageChunk(usage)), `${start}[],"usage":${usageText}}`);
});

test("usage counts each prompt once and the tokens of every choice", (t) => {
  const first = finish("stop", { promptTokens: 10, cachedTokens: 4, completionTokens: 3, reasoningTokens: 1 }).usage;
  const copy = finish("stop", { promptTokens: 10, cachedTokens: 9, completionTokens: 5, reasoningTokens: 2 }).usage;
  const other = finish("stop", { promptTokens: 7, cachedTokens: 0, completionTokens: 1, reasoningTokens: 0 }).usage;
  t.deepEqual(sumUsage([first, copy, other, other], 2), {
    prompt_tokens: 17,
    completion_tokens: 10,
    total_tokens: 27,
    prompt_tokens_details: { cached_tokens: 4 },
    completion_tokens_details: { reasoning_tokens: 3 },
  });
});

test("a fold joins the parts of each kind and refuses to be read before the end", (t) => {
  const fold = new ChoiceFold();
  fold.add(delta(reasoning("a"), content("1")));
  fold.add(delta(content("2"), reasoning("b")));
  t.throws(() => fold.result());
  fold.add(finish());
  t.like(fold.result(), { content: "12", reasoning: "ab", finish: { reason: "stop" } });
});

test("ids have their prefix and 24 random characters", (t) => {
  t.regex(newId("chatcmpl-"), /^chatcmpl-[A-Za-z0-9]{24}$/);
  t.not(newId("x"), newId("x"));
  const { model } = createMockEngine({ name: "m" });
  t.like(createHead("cmpl-", model), { model: "m", fingerprint: model.buildId });
});

test("completions: a long prompt goes before its answer in parts, which add up to the plain answer's", (t) => {
  const words = Array.from({ length: 700 }, (_, index) => (index % 7 === 0 ? " é" : ` ${index % 3}`));
  const tokens = words.map((word) => Buffer.from(word));
  const scored = (bytes: Buffer, index: number) => ({ token: index, bytes, logprob: -index, top: [] });
  const prompt = { type: "prompt", scores: tokens.slice(1).map(scored) } as const;
  const options = { includeUsage: false, choices: 1, n: 1, logprobs: 1 };
  const create = () => new CompletionAnswer(head, { ...options, echo: [{ text: words.join(""), tokens, hidden: 0 }] });
  const events = [prompt, delta(content("Hi")), finish()];
  const streamed = create();
  const chunks = events.flatMap((event) => streamed.chunks({ choice: 0, event })) as { choices: [Piece] }[];
  const pieces = chunks.map(({ choices: [piece] }) => piece);
  t.deepEqual(
    pieces.map(({ logprobs }) => logprobs?.tokens.length ?? 0),
    [256, 256, 188, 0, 0],
  );
  t.is(pieces[1]!.text, words.slice(256, 512).join(""));
  const plain = create();
  for (const event of events) plain.observe({ choice: 0, event });
  const { text, logprobs } = (plain.reply([folded(content("Hi"))], usage) as { choices: [Piece] }).choices[0];
  t.is(pieces.map((piece) => piece.text).join(""), text);
  for (const name of ["tokens", "token_logprobs", "top_logprobs", "text_offset"] as const)
    t.deepEqual(
      pieces.flatMap((piece) => piece.logprobs?.[name] ?? []),
      logprobs![name],
    );
});

type Piece = {
  readonly text: string;
  readonly logprobs: Record<"tokens" | "token_logprobs" | "top_logprobs" | "text_offset", unknown[]> | null;
};
