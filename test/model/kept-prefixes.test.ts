// Prompt beginnings over a restart: the second engine, or process, reuses what the first one kept and answers the same; what does
// not fit it is ignored.
import { mkdirSync, mkdtempSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import { cachedModel } from "../../src/bench/model-cache.ts";
import type { ShapeName } from "../../src/bench/shapes.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { capturedLog } from "../helpers/captured-log.ts";
import { type Answer, collect, request } from "../helpers/requests.ts";
import { startDemo } from "../helpers/server-process.ts";
import { loadTinyEngine } from "../helpers/tiny-engine.ts";

/** Flash attention on a CPU sums in 16 bits, so an answer may depend on how much of its prompt went into one step. */
const exact = { FLASH_ATTN: "off" };
const manyMs = 60_000;
const newFolder = () => mkdtempSync(join(tmpdir(), "kept-"));
const fileIn = (folder: string) => join(folder, "prefix-cache.bin");

async function load(folder: string, env: Record<string, string> = {}, modelPath?: string) {
  const { log, text } = capturedLog();
  const kept = { DATA_DIR: folder, PREFIX_CACHE_PERSIST: "true", ...exact, BATCH: "64", UBATCH: "64", ...env };
  const { engine } = await loadTinyEngine(kept, { log, ...(modelPath !== undefined && { modelPath }) });
  return { engine, text };
}

async function end(engine: Engine, withinMs = manyMs): Promise<void> {
  await engine.keepPrefixes(withinMs);
  await engine.dispose();
}

const long = `${"The cat is grey. ".repeat(30)}1, 2, 3, 4,`;

async function ask(engine: Engine, text: string, cacheScope: string | null = "test"): Promise<Answer> {
  const prompt = await engine.tokenize(text, true, true);
  return collect(engine.generate(request(prompt, { maxTokens: 24, cacheScope })));
}

const cached = ({ finish }: Answer) => finish.usage.cachedTokens;

test.serial("the next engine reuses what the last one kept, for the same key alone", async (t) => {
  const folder = newFolder();
  const first = await load(folder);
  t.regex(first.text(), /no saved prompt beginnings/);
  const expected = await ask(first.engine, long);
  await ask(first.engine, `Another ${long}`, "other");
  await ask(first.engine, `Secret ${long}`, null);
  await end(first.engine);
  t.is(statSync(fileIn(folder)).mode & 0o777, 0o600);
  t.regex(first.text(), /"prefixes":2.*prompt beginnings saved/);

  const second = await load(folder);
  t.regex(second.text(), /"prefixes":2.*prompt beginnings restored/);
  const { promptTokens } = expected.finish.usage;
  t.is(second.engine.slots().filter(({ cachedTokens }) => cachedTokens >= promptTokens).length, 2);
  t.is(cached(await ask(second.engine, long, "other")), 0);
  const again = await ask(second.engine, long);
  t.is(cached(again), promptTokens - 1);
  t.is(again.content, expected.content);
  const longer = await ask(second.engine, `${long} 5, 6, 7,`);
  t.true(cached(longer) >= promptTokens - 1);
  const cold = await loadTinyEngine({ PREFIX_CACHE: "false", ...exact });
  t.is(longer.content, (await ask(cold.engine, `${long} 5, 6, 7,`)).content);
  await cold.engine.dispose();
  await end(second.engine);
});

for (const kind of ["tiny", "tiny-window", "tiny-recurrent", "tiny-hybrid"] as const satisfies ShapeName[])
  for (const KV_LAYOUT of ["streams", "unified"])
    test.serial(`${kind}, ${KV_LAYOUT}: states come back whole`, async (t) => {
      const folder = newFolder();
      const model = await cachedModel(kind);
      const first = await load(folder, { KV_LAYOUT }, model);
      const expected = await ask(first.engine, long);
      await end(first.engine);
      const second = await load(folder, { KV_LAYOUT }, model);
      const again = await ask(second.engine, long);
      t.true(cached(again) >= expected.finish.usage.promptTokens - 4, `${cached(again)}`);
      t.is(again.content, expected.content);
      await end(second.engine);
    });

test.serial("states of another model, size or setting are ignored, and the log says so", async (t) => {
  const folder = newFolder();
  const first = await load(folder);
  await ask(first.engine, long);
  await end(first.engine);
  const kept = readFileSync(fileIn(folder));
  for (const setting of ["CTX=512", "KV_TYPE_K=q8_0", "KV_LAYOUT=unified", "MAX_CONCURRENT_REQUESTS=2"]) {
    const { engine, text } = await load(folder, Object.fromEntries([setting.split("=")]));
    t.regex(text(), /of another model or setting: ignored/, setting);
    t.is(cached(await ask(engine, long)), 0);
    await engine.dispose();
  }
  const other = await load(folder, {}, await cachedModel("tiny"));
  t.regex(other.text(), /of another model or setting: ignored/);
  await other.engine.dispose();
  t.deepEqual(readFileSync(fileIn(folder)), kept, "only a drain replaces the file");
  const off = await load(folder, { PREFIX_CACHE_PERSIST: "false" });
  t.is(cached(await ask(off.engine, long)), 0);
  await end(off.engine);
  t.deepEqual(readFileSync(fileIn(folder)), kept);
});

test.serial("a damaged file, or one that is something else, costs a log line and nothing else", async (t) => {
  const folder = newFolder();
  const first = await load(folder);
  const expected = await ask(first.engine, long);
  await end(first.engine);
  const kept = readFileSync(fileIn(folder));
  const flipped = Buffer.from(kept);
  flipped[kept.length - 1000]! ^= 1;
  const damages: [Buffer, RegExp][] = [
    [kept.subarray(0, kept.length - 1000), /damaged: the rest is ignored/],
    [flipped, /damaged: the rest is ignored/],
    [Buffer.from("hello"), /ignored/],
    [Buffer.alloc(0), /ignored/],
  ];
  for (const [bytes, said] of damages) {
    writeFileSync(fileIn(folder), bytes);
    const { engine, text } = await load(folder);
    t.regex(text(), said);
    const answer = await ask(engine, long);
    t.is(cached(answer), 0);
    t.is(answer.content, expected.content);
    await engine.dispose();
  }
});

test.serial("without time nothing is kept; a file that cannot be read or written is no failure", async (t) => {
  const folder = newFolder();
  const first = await load(folder);
  await ask(first.engine, long);
  await end(first.engine, -1);
  t.regex(first.text(), /"prefixes":0/);
  const blocked = newFolder();
  for (const name of [fileIn(blocked), `${fileIn(blocked)}.part`]) mkdirSync(name);
  const second = await load(blocked);
  t.regex(second.text(), /could not be read/);
  await ask(second.engine, long);
  await end(second.engine);
  t.regex(second.text(), /could not be saved/);
});

test.serial("a process that drained wakes up warm in the next one", async (t) => {
  const dir = newFolder();
  const messages = [{ role: "user" as const, content: long }];
  const answers: { content: string | null; cached: number | undefined }[] = [];
  for (let run = 0; run < 2; run++) {
    const { client, process } = await startDemo(t, { PREFIX_CACHE_PERSIST: "true", ...exact }, dir);
    const answer = await client.chat.completions.create({ model: "any", messages, temperature: 0, max_tokens: 24 });
    const { content } = answer.choices[0]!.message;
    answers.push({ content, cached: answer.usage?.prompt_tokens_details?.cached_tokens });
    process.kill("SIGTERM");
    t.is((await process.ended).code, 0);
  }
  t.is(answers[0]!.cached, 0);
  t.true(answers[1]!.cached! > 100);
  t.is(answers[1]!.content, answers[0]!.content);
});
