// What FIT reckons with: the need that is measured is what contexts then take, for every kind of memory; a draft model's is part of it.
import test from "ava";
import { getLlama, LlamaLogLevel } from "node-llama-cpp";
import { cachedModel } from "../../src/bench/model-cache.ts";
import type { ShapeName } from "../../src/bench/shapes.ts";
import { type ContextSize, costOf } from "../../src/engine/fit.ts";
import { contextOptions } from "../../src/engine/llama-settings.ts";
import { loadAddon } from "../../src/engine/load-addon.ts";
import { measureDevices } from "../../src/engine/memory.ts";
import { capturedLog } from "../helpers/captured-log.ts";
import { collect, request } from "../helpers/requests.ts";
import { testConfig } from "../helpers/server.ts";
import { loadTinyEngine, tinyChatPath } from "../helpers/tiny-engine.ts";

const mebibyte = 2 ** 20;
const kinds: readonly ShapeName[] = ["tiny", "tiny-window", "tiny-recurrent", "tiny-hybrid"];
const sizes: readonly ContextSize[] = [
  { contextTokens: 2048, sequences: 1 },
  { contextTokens: 2048, sequences: 16 },
  { contextTokens: 32768, sequences: 2 },
];
const settings: readonly Record<string, string>[] = [
  {},
  { FLASH_ATTN: "off" },
  { FLASH_ATTN: "on", KV_TYPE_K: "q8_0", KV_TYPE_V: "q8_0", KV_LAYOUT: "unified" },
];

for (const kind of kinds)
  test.serial(`${kind}: contexts take what was measured`, async (t) => {
    const llama = await getLlama({ build: "never", gpu: false, skipDownload: true, logLevel: LlamaLogLevel.disabled });
    const model = await llama.loadModel({ modelPath: await cachedModel(kind) });
    const addon = loadAddon();
    const native = new addon.Model((model as unknown as { _model: unknown })._model);
    for (const env of settings) {
      const config = testConfig({ GPU: "cpu", THREADS: "1", ...env });
      for (const size of sizes) {
        const [device] = await measureDevices(size, { llama, models: [{ model }], config });
        const measured = costOf(device!.contexts[0]!.cost, size);
        const context = await addon.createContext(native, contextOptions(config, llama, size, false));
        const { contextBytes, computeBytes } = context.memory();
        context.dispose();
        const taken = contextBytes + computeBytes;
        t.true(measured > taken * 0.95 && measured < taken * 1.1 + mebibyte, `${measured} for ${taken}`);
      }
    }
    await model.dispose();
    await llama.dispose();
  });

/** An engine on a machine with so much memory beside the headroom. */
async function withUsable<T>(usableBytes: number, work: () => Promise<T>): Promise<T> {
  const { availableMemory } = process;
  process.availableMemory = () => usableBytes + 256 * mebibyte;
  try {
    return await work();
  } finally {
    process.availableMemory = availableMemory;
  }
}

const asked = { contextTokens: 2048, sequences: 4 };
const askedEnv = { CTX: "2048", MAX_CONCURRENT_REQUESTS: "4" };

/** What a context of this size on tiny-chat needs. */
async function needed(size: ContextSize): Promise<number> {
  const llama = await getLlama({ build: "never", gpu: false, skipDownload: true, logLevel: LlamaLogLevel.disabled });
  const model = await llama.loadModel({ modelPath: tinyChatPath });
  const config = testConfig({ GPU: "cpu", ...askedEnv });
  const [device] = await measureDevices(asked, { llama, models: [{ model }], config });
  await model.dispose();
  await llama.dispose();
  return costOf(device!.contexts[0]!.cost, size);
}

test.serial(
  "a draft model's context is fitted with the main one's, and so small that it goes with what is granted",
  async (t) => {
    const [three, two] = [await needed({ ...asked, sequences: 3 }), await needed({ ...asked, sequences: 2 })];
    const granted = async (usableBytes: number, draftModelPath?: string) => {
      const { log, text } = capturedLog();
      const { engine } = await withUsable(usableBytes, () => loadTinyEngine(askedEnv, { draftModelPath, log }));
      const prompt = await engine.tokenize("1, 2, 3, 4, 5, 6, 1, 2, 3,", true, true);
      await collect(engine.generate(request(prompt, { maxTokens: 30 })));
      const { draftedTokens } = engine.speculation();
      await engine.dispose();
      t.is(draftedTokens > 0, draftModelPath !== undefined);
      const { contextTokens } = engine.model;
      return { contextTokens, sequences: engine.maxConcurrentRequests, warned: /FIT: asked/.test(text()) };
    };
    const room = three + two;
    t.deepEqual(await granted(room), { ...asked, warned: false });
    t.deepEqual(await granted(room, tinyChatPath), { ...asked, sequences: 3, warned: true });
    const one = await needed({ ...asked, sequences: 1 });
    t.deepEqual(await granted(2 * one, tinyChatPath), { ...asked, sequences: 1, warned: true });
    await withUsable(room, async () => {
      const message = /does not fit into memory .*DRAFT_MODEL_PATH included.*largest CTX.*largest concurrency.* is 3\./;
      await t.throwsAsync(loadTinyEngine({ ...askedEnv, FIT: "false" }, { draftModelPath: tinyChatPath }), { message });
    });
  },
);
