// Fidelity on every kind of memory a model can have: greedy tokens are the same alone, batched, in chunks, beside neighbours that
// leave, with a KV layout of either kind, with a cached beginning, with guesses that are checked, and with adapters at scale 0.
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as tick } from "node:timers/promises";
import test from "ava";
import { writeGguf } from "../../src/bench/gguf-writer.ts";
import { cachedModel } from "../../src/bench/model-cache.ts";
import { randomModel } from "../../src/bench/random-model.ts";
import { type ShapeName, shapes } from "../../src/bench/shapes.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { writeLoraFor } from "../helpers/lora.ts";
import { type Answer, collect, greedy, request } from "../helpers/requests.ts";
import { loadTinyEngine } from "../helpers/tiny-engine.ts";

const kinds: readonly ShapeName[] = ["tiny", "tiny-window", "tiny-recurrent", "tiny-hybrid"];
/** Flash attention on a CPU sums in 16 bits: with random weights, that alone may decide between two tokens. */
const exact = { FLASH_ATTN: "off" };
/** With so small a batch the sliding window's cache has 256 cells, so that longer prompts leave it. */
const small = { BATCH: "32", UBATCH: "32" };
const maxTokens = 24;

/** Noise that is different for each seed from its first token on. */
const noise = (seed: number, length: number) =>
  Array.from({ length }, (_, i) => (seed * 97 + i * i * 31 + i * 7) % 1000);

const prompts = Array.from({ length: 6 }, (_, seed) => noise(seed + 1, 5 + seed * 75));

async function load(kind: ShapeName, env: Record<string, string> = {}, draftModelPath?: string): Promise<Engine> {
  const { engine } = await loadTinyEngine({ ...exact, ...env }, { modelPath: await cachedModel(kind), draftModelPath });
  return engine;
}

const ask = (engine: Engine, prompt: readonly number[], overrides: Parameters<typeof request>[1] = {}) =>
  collect(engine.generate(request(prompt, { maxTokens, ...overrides })));

const contents = (answers: readonly Answer[]) => answers.map(({ content }) => content);
const cached = ({ finish }: Answer) => finish.usage.cachedTokens;

/** Each alone, one after the other, nothing kept. */
async function aloneAnswers(engine: Engine): Promise<string[]> {
  const answers: Answer[] = [];
  for (const prompt of prompts) answers.push(await ask(engine, prompt, { cacheScope: null }));
  return contents(answers);
}

for (const kind of kinds) {
  test.serial(`${kind}: the same greedy answers alone, batched, in chunks and in either KV layout`, async (t) => {
    let expected: string[] | undefined;
    for (const env of [{}, small, { ...small, KV_LAYOUT: "unified" }] as Record<string, string>[]) {
      const engine = await load(kind, env);
      const alone = await aloneAnswers(engine);
      expected ??= alone;
      t.is(new Set(alone).size, prompts.length, "prompts that say something different each");
      t.deepEqual(alone, expected, JSON.stringify(env));
      t.deepEqual(contents(await Promise.all(prompts.map((prompt) => ask(engine, prompt)))), expected);
      await engine.dispose();
    }
  });

  test.serial(`${kind}: neighbours that leave change nothing`, async (t) => {
    const engine = await load(kind, small);
    const long = prompts.at(-1)!;
    const expected = await ask(engine, long, { cacheScope: null });
    for (let round = 0; round < 8; round++) {
      const controller = new AbortController();
      const leavers = [3, 4].map((seed) => ask(engine, noise(seed, 300), { signal: controller.signal }));
      const answer = ask(engine, long, { cacheScope: null });
      for (let ticks = round * 3; ticks > 0; ticks--) await tick();
      controller.abort(new Error("client left"));
      for (const leaver of leavers) await t.throwsAsync(leaver, { message: "client left" });
      t.is((await answer).content, expected.content);
    }
    await engine.dispose();
  });

  for (const layout of ["streams", "unified"])
    test.serial(`${kind}, ${layout}: a cached beginning gives the uncached answer`, async (t) => {
      const cold = await load(kind, { ...small, PREFIX_CACHE: "false" });
      const engine = await load(kind, { ...small, KV_LAYOUT: layout });
      const same = async (prompt: readonly number[], least: number, name: string, scope = "test") => {
        const expected = await ask(cold, prompt);
        const answer = await ask(engine, prompt, { cacheScope: scope });
        t.is(cached(expected), 0);
        t.is(answer.content, expected.content, name);
        t.true(cached(answer) >= least, `${name}: ${cached(answer)} of ${prompt.length} tokens reused`);
        return answer;
      };
      const prompt = noise(50, 400);
      await same(prompt, 0, "first");
      t.is(cached(await same(prompt, 0, "another key", "other")), 0);
      await same(prompt, 396, "the same again");
      await same([...prompt.slice(0, 398), 7, 8, 9], 396, "another end");
      // So long an answer that the prompt's end has left the window's cells.
      await ask(engine, prompt, { maxTokens: 320 });
      await same(prompt, 396, "after a long answer");
      await same([...prompt, ...noise(60, 60)], 396, "a continuation");
      // Memory that cannot be cut learns from the second prompt where prompts part, and the third gains.
      await same([...prompt.slice(0, 200), ...noise(61, 100)], 0, "parts early");
      await same([...prompt.slice(0, 200), ...noise(62, 100)], 200, "parts at the same place");
      const together = await Promise.all(Array.from({ length: 4 }, () => ask(engine, noise(70, 300))));
      t.is(new Set(contents(together)).size, 1);
      t.is(together[0]!.content, (await ask(cold, noise(70, 300))).content);
      const questions = [81, 82, 83, 84].map((seed) => [...noise(80, 200), ...noise(seed, 60)]);
      const answers = await Promise.all(questions.map((question) => ask(engine, question)));
      for (const [i, question] of questions.entries()) t.is(answers[i]!.content, (await ask(cold, question)).content);
      // A pool that is shared and has windows copies nothing. Nobody waits for the last few tokens.
      const reused = kind === "tiny-window" && layout === "unified" ? 0 : 3;
      t.is(together.filter((answer) => cached(answer) >= 260).length, reused);
      t.is(answers.filter((answer) => cached(answer) >= 160).length, reused);
      await engine.dispose();
      await cold.dispose();
    });

  test.serial(
    `${kind}: adapters at scale 0 change nothing, beside others and with a cache that they share`,
    async (t) => {
      const plain = await load(kind, small);
      const expected = await aloneAnswers(plain);
      await plain.dispose();
      const LORA_PATHS = `${await writeLoraFor(shapes[kind], 1)}=0,${await writeLoraFor(shapes[kind], 2)}=0`;
      for (const KV_LAYOUT of ["streams", "unified"]) {
        const engine = await load(kind, { ...small, LORA_PATHS, KV_LAYOUT });
        t.deepEqual(await aloneAnswers(engine), expected);
        const long = prompts.at(-1)!;
        const adapted = (await ask(engine, long, { loraScales: [1, 0], cacheScope: null })).content;
        t.not(adapted, expected.at(-1));
        const scales = [[0, 0], [1, 0], [0, 0], undefined, [1, 0], [0, 0]];
        const answers = await Promise.all(scales.map((loraScales) => ask(engine, long, loraScales && { loraScales })));
        t.deepEqual(
          contents(answers),
          scales.map((scale) => (scale?.[0] === 1 ? adapted : expected.at(-1))),
        );
        await engine.dispose();
      }
    },
  );
}

/** Of other weights and the same vocabulary: its guesses are mostly wrong. */
async function otherModel(): Promise<string> {
  const path = join(mkdtempSync(join(tmpdir(), "other-")), "other.gguf");
  await writeGguf(path, randomModel("other", shapes.tiny, 2));
  return path;
}

/** So few tokens are allowed that an answer repeats itself: guesses from the text are often right. */
const repeating = { sampling: { ...greedy, logitBias: [10, 11, 12].map((token): [number, number] => [token, 100]) } };

for (const kind of ["tiny", "tiny-window"] as const)
  for (const KV_LAYOUT of ["streams", "unified"])
    test.serial(
      `${kind}, ${KV_LAYOUT}: guesses change nothing, right or wrong, also once a window has moved on`,
      async (t) => {
        const questions = [
          { prompt: prompts.at(-1)!, overrides: { maxTokens: 300 } },
          { prompt: prompts[1]!, overrides: { maxTokens: 300, ...repeating } },
          { prompt: [...noise(90, 40), ...noise(90, 40), ...noise(90, 20)], overrides: { maxTokens: 60 } },
        ];
        const answerAll = async (engine: Engine) => {
          const answers: Answer[] = [];
          // The second time with what the first one left in the cache.
          for (const { prompt, overrides } of [...questions, ...questions])
            answers.push(await ask(engine, prompt, overrides));
          const together = questions.map(({ prompt, overrides }) => ask(engine, prompt, overrides));
          return contents([...answers, ...(await Promise.all(together))]);
        };
        const plain = await load(kind, { PREFIX_CACHE: "false" });
        const expected = await answerAll(plain);
        await plain.dispose();
        const guessing: readonly { env: Record<string, string>; draft?: string }[] = [
          { env: { PROMPT_LOOKUP: "true" } },
          { env: {}, draft: await otherModel() },
          { env: small, draft: await cachedModel("tiny") },
        ];
        let accepted = 0;
        for (const { env, draft } of guessing) {
          const engine = await load(kind, { ...env, KV_LAYOUT }, draft);
          t.deepEqual(await answerAll(engine), expected, JSON.stringify(env));
          const { draftedTokens, acceptedTokens } = engine.speculation();
          t.true(draftedTokens > acceptedTokens, `${draftedTokens} guesses, ${acceptedTokens} right`);
          accepted += acceptedTokens;
          await engine.dispose();
        }
        t.true(accepted > 50, `${accepted} right guesses`);
      },
    );

for (const kind of ["tiny-recurrent", "tiny-hybrid"] as const)
  test.serial(`${kind}: guesses are refused at the start, by the variable's name`, async (t) => {
    await t.throwsAsync(load(kind, { PROMPT_LOOKUP: "true" }), { message: /^PROMPT_LOOKUP: .* cannot drop/ });
    const draft = await cachedModel("tiny");
    await t.throwsAsync(load(kind, {}, draft), { message: /^DRAFT_MODEL_PATH: .* cannot drop/ });
  });
