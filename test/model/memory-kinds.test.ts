// Fidelity on every kind of memory a model can have: greedy tokens are the same alone, batched, in chunks, beside neighbours that
// leave, with a KV layout of either kind, and with a cached beginning.
import { setImmediate as tick } from "node:timers/promises";
import test from "ava";
import { cachedModel } from "../../src/bench/model-cache.ts";
import type { ShapeName } from "../../src/bench/shapes.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { type Answer, collect, request } from "../helpers/requests.ts";
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

async function load(kind: ShapeName, env: Record<string, string> = {}): Promise<Engine> {
  const { engine } = await loadTinyEngine({ ...exact, ...env }, { modelPath: await cachedModel(kind) });
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
}
