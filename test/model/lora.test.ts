// LoRA adapters on tiny-chat: their scales, requests of different scales at once, what they may share of the cache, bad files.
import test from "ava";
import type { Engine } from "../../src/engine/engine.ts";
import { writeLora } from "../helpers/lora.ts";
import { type Answer, collect, request } from "../helpers/requests.ts";
import { loadTinyEngine } from "../helpers/tiny-engine.ts";

const long = `${"The cat is grey. ".repeat(20)}Once upon a time`;

async function ask(engine: Engine, text: string, loraScales?: readonly number[]): Promise<Answer> {
  const prompt = await engine.tokenize(text, true, true);
  return collect(engine.generate(request(prompt, { maxTokens: 40, ...(loraScales && { loraScales }) })));
}

async function withEngine<T>(env: Record<string, string>, use: (engine: Engine) => Promise<T>): Promise<T> {
  const { engine } = await loadTinyEngine(env);
  try {
    return await use(engine);
  } finally {
    await engine.dispose();
  }
}

const first = await writeLora({ seed: 1 });
const second = await writeLora({ seed: 2 });

test.serial("scale 0 is the base model, scale 1 is not, and the server's scale is what a request gets", async (t) => {
  const base = await withEngine({}, (engine) => ask(engine, long));
  await withEngine({ LORA_PATHS: `${first}=2,${second}=0` }, async (engine) => {
    t.deepEqual(engine.model.loraScales, [2, 0]);
    t.is((await ask(engine, long, [0, 0])).content, base.content);
    const adapted = (await ask(engine, long, [2, 0])).content;
    t.not(adapted, base.content);
    t.is((await ask(engine, long)).content, adapted);
    t.not((await ask(engine, long, [0, 1])).content, (await ask(engine, long, [1, 0])).content);
  });
});

for (const layout of ["streams", "unified"]) {
  test.serial(`requests of different scales at once get what each gets alone: ${layout}`, async (t) => {
    const scales = [
      [0, 0],
      [1, 0],
      [0, 1],
      [1, 0],
      [0.5, -0.5],
      [0, 0],
      [1, 1],
      [0, 1],
    ];
    // Without the 16-bit rounding of flash attention, which depends on how prompts are cut and can turn a near tie.
    const exact = { FLASH_ATTN: "off", PREFIX_CACHE: "false" };
    const env = { ...exact, LORA_PATHS: `${first},${second}`, KV_LAYOUT: layout, MAX_CONCURRENT_REQUESTS: "8" };
    await withEngine(env, async (engine) => {
      const alone: string[] = [];
      for (const scale of scales) alone.push((await ask(engine, long, scale)).content);
      t.true(new Set(alone).size >= 4);
      const together = await Promise.all(scales.map((scale) => ask(engine, long, scale)));
      t.deepEqual(
        together.map((answer) => answer.content),
        alone,
      );
    });
  });
}

test.serial("what was computed with other scales is never reused", async (t) => {
  await withEngine({ LORA_PATHS: `${first},${second}` }, async (engine) => {
    const cached = async (scales: readonly number[]) => (await ask(engine, long, scales)).finish.usage.cachedTokens;
    t.is(await cached([1, 0]), 0);
    t.is(await cached([0, 1]), 0);
    t.is(await cached([0.5, 0]), 0);
    t.is(await cached([0, 0]), 0);
    t.true((await cached([0, 1])) > 0);
    t.true((await cached([0, 0])) > 0);
  });
});

test.serial(
  "an adapter that does not fit the model is a start failure that names the variable, the file and why",
  async (t) => {
    const path = await writeLora({ outputs: 96 });
    const error = await t.throwsAsync(loadTinyEngine({ LORA_PATHS: path }), {
      message: /^LORA_PATHS \(.*incorrect shape/,
    });
    t.true(error!.message.includes(path));
  },
);
