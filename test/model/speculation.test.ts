// Speculation on tiny-chat: the answers are those without it, whoever guesses and however badly; what a run of guesses must not skip.
import { setImmediate as tick } from "node:timers/promises";
import test, { type ExecutionContext } from "ava";
import { cachedModel } from "../../src/bench/model-cache.ts";
import type { Engine, GenerationEvent, GenerationRequest, SampledLogprob, Sampling } from "../../src/engine/engine.ts";
import { writeOtherChat } from "../helpers/draft-model.ts";
import { writeLora } from "../helpers/lora.ts";
import { collect, greedy, request } from "../helpers/requests.ts";
import { loadTinyEngine, tinyChatPath } from "../helpers/tiny-engine.ts";

const draftModelPath = tinyChatPath;
const otherPath = await writeOtherChat();

type Setting = { readonly env?: Record<string, string>; readonly draft?: string };
const speculating: Record<string, Setting> = {
  "the model itself": { draft: draftModelPath },
  "another model": { draft: otherPath },
  "prompt lookup": { env: { PROMPT_LOOKUP: "true" } },
  "prompt lookup, then a model, in one KV pool": {
    env: { PROMPT_LOOKUP: "true", KV_LAYOUT: "unified", KV_TYPE_K: "f16" },
    draft: otherPath,
  },
  "the model itself, with few rooms in a batch": { env: { BATCH: "32", UBATCH: "32" }, draft: draftModelPath },
};

/**
 * Flash attention rounds to 16 bits on the CPU, differently for one token than for several at once, and that alone can turn a sample
 * between two tokens of about the same probability. Without it, answers have to be equal to the last token.
 */
const exact = { FLASH_ATTN: "off" };

async function withEngine<T>({ env = {}, draft }: Setting, use: (engine: Engine) => Promise<T>): Promise<T> {
  const { engine } = await loadTinyEngine({ ...exact, ...env }, { draftModelPath: draft });
  try {
    return await use(engine);
  } finally {
    await engine.dispose();
  }
}

const story = `${"The cat is grey. The dog is brown. ".repeat(8)}Once upon a time`;
const counting = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 1, 2, 3,";
const sampled: Sampling = { ...greedy, temperature: 0.9, seed: 42 };

/** What may not change; log-probabilities may in their last digits. */
type Told = { text: string; reason: string; stop: string | null; tokens: number; ids: number[]; logprobs: number[] };

function expectSame(t: ExecutionContext, answers: readonly Told[], expected: readonly Told[]): void {
  const withoutLogprobs = (told: Told) => ({ ...told, logprobs: told.logprobs.length });
  t.deepEqual(answers.map(withoutLogprobs), expected.map(withoutLogprobs));
  for (const [place, { logprobs }] of answers.entries()) {
    for (const [i, logprob] of logprobs.entries()) t.true(Math.abs(logprob - expected[place]!.logprobs[i]!) < 0.02);
  }
}

async function tell(events: AsyncIterable<GenerationEvent>): Promise<Told> {
  const logprobs: SampledLogprob[] = [];
  async function* watched(): AsyncGenerator<GenerationEvent> {
    for await (const event of events) {
      if (event.type === "delta") logprobs.push(...(event.logprobs ?? []));
      yield event;
    }
  }
  const { content, finish } = await collect(watched());
  return {
    text: content,
    reason: finish.reason,
    stop: finish.stopString,
    tokens: finish.usage.completionTokens,
    ids: logprobs.flatMap(({ token, top }) => [token, ...top.slice(0, 1).map((best) => best.token)]),
    logprobs: logprobs.map(({ logprob }) => logprob),
  };
}

type Question = { readonly text: string; readonly overrides: Partial<GenerationRequest>; readonly grammar?: string };
const questions: Question[] = [
  { text: story, overrides: { maxTokens: 60 } },
  { text: counting, overrides: { maxTokens: 60 } },
  { text: story, overrides: { maxTokens: 60, sampling: sampled } },
  { text: counting, overrides: { maxTokens: 60, sampling: { ...sampled, topP: 0.9, seed: 7 } } },
  { text: story, overrides: { maxTokens: 60, sampling: { ...sampled, topK: 0, typicalP: 0.9 } } },
  { text: counting, overrides: { maxTokens: 60, sampling: { ...greedy, repeatPenalty: 1.3, frequencyPenalty: 0.5 } } },
  { text: counting, overrides: { maxTokens: 60, sampling: { ...greedy, dryMultiplier: 0.8 } } },
  { text: story, overrides: { maxTokens: 60, sampling: { ...sampled, mirostat: 2 } } },
  { text: story, overrides: { maxTokens: 40, logprobs: 3 } },
  { text: counting, overrides: { maxTokens: 60, stop: [", 7, 8"] } },
  { text: story, overrides: { maxTokens: 60, stop: ["cat", "friend"] } },
  ...[1, 2, 3, 4, 5, 6, 7].map((maxTokens) => ({ text: counting, overrides: { maxTokens } })),
  { text: counting, overrides: { maxTokens: 50 }, grammar: 'root ::= (" " [0-9]+ ",")+' },
  { text: "Hello", overrides: { maxTokens: 50 }, grammar: 'root ::= "yes" | "no"' },
];

async function answer(engine: Engine, { text, overrides, grammar }: Question): Promise<Told> {
  const prompt = await engine.tokenize(text, true, true);
  const sampling = overrides.sampling ?? greedy;
  const sampler = grammar && (await engine.prepareSampler(sampling, { grammar }));
  return tell(engine.generate(request(prompt, { ...overrides, ...(sampler && { sampler }) })));
}

async function answerAll(engine: Engine): Promise<Told[]> {
  const answers: Told[] = [];
  for (const question of questions) answers.push(await answer(engine, question));
  return answers;
}

const plain = withEngine({}, answerAll);

for (const [who, setting] of Object.entries(speculating)) {
  test.serial(`answers are those without speculation: guesses of ${who}`, async (t) => {
    const expected = await plain;
    await withEngine(setting, async (engine) => {
      expectSame(t, await answerAll(engine), expected);
      const two = await Promise.all([answer(engine, questions[0]!), answer(engine, questions[3]!)]);
      expectSame(t, two, [expected[0]!, expected[3]!]);
      const many = await Promise.all(questions.map((question) => answer(engine, question)));
      expectSame(t, many, expected);
      t.true(engine.speculation().draftedTokens > 0);
    });
  });
}

test.serial("with flash attention greedy answers are those without speculation", async (t) => {
  const env = { FLASH_ATTN: "on" };
  const ask = (engine: Engine) => Promise.all([answer(engine, questions[0]!), answer(engine, questions[1]!)]);
  const expected = await withEngine({ env }, ask);
  for (const draft of [draftModelPath, otherPath]) t.deepEqual(await withEngine({ env, draft }, ask), expected);
});

test.serial("the model itself guesses nearly always rightly, another one nearly never", async (t) => {
  const rate = (draft: string) =>
    withEngine({ draft, env: { PREFIX_CACHE: "false" } }, async (engine) => {
      for (const text of [story, counting, "Hello"]) await answer(engine, { text, overrides: { maxTokens: 60 } });
      const { draftedTokens, acceptedTokens } = engine.speculation();
      t.true(draftedTokens > 0);
      return acceptedTokens / draftedTokens;
    });
  const [itself, other] = [await rate(draftModelPath), await rate(otherPath)];
  t.true(itself > 0.9, `${itself}`);
  t.true(other < 0.2, `${other}`);
});

test.serial("prompt lookup finds what an answer repeats", async (t) => {
  await withEngine(speculating["prompt lookup"]!, async (engine) => {
    await answer(engine, { text: counting, overrides: { maxTokens: 60 } });
    const { draftedTokens, acceptedTokens } = engine.speculation();
    t.true(acceptedTokens > 20 && acceptedTokens <= draftedTokens, `${acceptedTokens} of ${draftedTokens}`);
  });
});

test.serial("a client that leaves amid guesses frees its sequence and leaves the cache as it should be", async (t) => {
  const expected = await plain;
  await withEngine({ draft: draftModelPath }, async (engine) => {
    for (let i = 0; i < 20; i++) {
      const controller = new AbortController();
      const leaver = answer(engine, { text: story, overrides: { maxTokens: 200, signal: controller.signal } });
      const left = t.throwsAsync(leaver, { message: "client left" });
      const busy = () => engine.slots().some(({ decodedTokens }) => decodedTokens > i);
      while (!busy()) await tick();
      controller.abort(new Error("client left"));
      await left;
    }
    t.deepEqual(await answer(engine, questions[0]!), expected[0]);
    while (engine.slots().some(({ state }) => state !== "idle")) await tick();
  });
});

test.serial("LoRA adapters stay in force while their base model guesses", async (t) => {
  const env = { LORA_PATHS: await writeLora() };
  const alone = await withEngine({ env }, (engine) => answer(engine, questions[0]!));
  await withEngine({ env, draft: draftModelPath }, async (engine) => {
    t.deepEqual(await answer(engine, questions[0]!), alone);
    const both = [questions[0]!, { ...questions[0]!, overrides: { maxTokens: 60, loraScales: [0] } }];
    t.deepEqual(await Promise.all(both.map((question) => answer(engine, question))), [alone, (await plain)[0]]);
  });
});

test.serial("a draft model of another vocabulary is a start failure that says where they differ", async (t) => {
  const draft = await cachedModel("tiny");
  const message = /^DRAFT_MODEL_PATH \(.*tiny.*\): its vocabulary is not the main model's: /;
  await t.throwsAsync(loadTinyEngine({}, { draftModelPath: draft }), { message });
});
