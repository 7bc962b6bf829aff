// Whatever is handed to loadState() is refused or served, for every kind of memory: nothing ends the process, and the context works on.
import test, { type ExecutionContext } from "ava";
import fc from "fast-check";
import { getLlama, type Llama, LlamaLogLevel } from "node-llama-cpp";
import { cachedModel } from "../../src/bench/model-cache.ts";
import type { ShapeName } from "../../src/bench/shapes.ts";
import type { Addon, NativeContext } from "../../src/engine/addon.ts";
import { loadAddon } from "../../src/engine/load-addon.ts";
import { greedy } from "../helpers/requests.ts";

const kinds = ["tiny", "tiny-window", "tiny-recurrent", "tiny-hybrid"] as const satisfies ShapeName[];
const layouts = [
  { name: "streams", unified: false },
  { name: "unified", unified: true },
];
const options = {
  contextTokens: 512,
  batchTokens: 32,
  microBatchTokens: 32,
  sequences: 2,
  threads: 1,
  flashAttention: "auto",
  keyType: "f16",
  valueType: "f16",
} as const;

let llama: Llama;
let addon: Addon;
/** States of every kind of memory and layout. */
let taken: Map<string, Uint8Array[]>;
test.before(async () => {
  llama = await getLlama({ build: "never", gpu: false, skipDownload: true, logLevel: LlamaLogLevel.disabled });
  addon = loadAddon();
  taken = await takeAllStates();
});
test.after.always(() => llama.dispose());

async function withContext(
  kind: ShapeName,
  unified: boolean,
  use: (context: NativeContext) => Promise<void>,
): Promise<void> {
  const model = await llama.loadModel({ modelPath: await cachedModel(kind) });
  const native = new addon.Model((model as unknown as { _model: unknown })._model);
  const context = await addon.createContext(native, { ...options, unified });
  try {
    await use(context);
  } finally {
    context.dispose();
    await model.dispose();
  }
}

/** Decodes tokens at these positions of a sequence and samples after the last. */
async function decode(context: NativeContext, sequence: number, from: number, count: number): Promise<number> {
  context.setSampler(sequence, greedy, new Int32Array(), -1);
  const { tokens, positions, sequences, outputs, sampled } = context.buffers();
  for (let at = 0; at < count; at++) {
    tokens[at] = 300 + ((from + at) % 200);
    positions[at] = from + at;
    sequences[at] = sequence;
    outputs[at] = at === count - 1 ? 1 : 0;
  }
  await context.step(count);
  return sampled[0]!;
}

const lengths = [30, 60, 90];

/** States of sequence 0 with 30, 60 and 90 tokens, whole and the part that cannot be cut. */
async function takeStates(context: NativeContext): Promise<{ whole: Uint8Array[]; partial: Uint8Array[] }> {
  const states: { whole: Uint8Array[]; partial: Uint8Array[] } = { whole: [], partial: [] };
  for (const length of lengths) {
    await decode(context, 0, length - 30, 30);
    states.whole.push((await context.saveState(0, false, 1e9))!);
    states.partial.push((await context.saveState(0, true, 1e9))!);
  }
  return states;
}

/** A true state, spoiled in a way that the seed says. */
const spoilt = (states: readonly Uint8Array[]) =>
  fc
    .record({
      state: fc.constantFrom(...states),
      // States open with what describes them.
      places: fc.array(fc.oneof(fc.nat(), fc.nat(200)), { maxLength: 4 }),
      bit: fc.nat(7),
      cut: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat() }),
      tail: fc.uint8Array({ maxLength: 40 }),
    })
    .map(({ state, places, bit, cut, tail }) => {
      const bytes = Uint8Array.from(state);
      for (const place of places) bytes[place % bytes.length]! ^= 1 << bit;
      const kept = cut === 0 ? bytes : bytes.subarray(0, cut % bytes.length);
      return Uint8Array.from([...kept, ...(cut % 3 === 0 ? [] : tail)]);
    });

const runs = { numRuns: 500 };

/** Both sequences emptied, the first answers as it did at first. */
async function works(t: ExecutionContext, context: NativeContext, expected: number): Promise<void> {
  for (const sequence of [0, 1]) t.true(context.removeTokens(sequence, -1, -1));
  t.is(await decode(context, 0, 0, 30), expected);
}

async function takeAllStates(): Promise<Map<string, Uint8Array[]>> {
  const taken = new Map<string, Uint8Array[]>();
  for (const kind of kinds)
    for (const { name, unified } of layouts)
      await withContext(kind, unified, async (context) => {
        const { whole, partial } = await takeStates(context);
        taken.set(`${kind}, ${name}`, [...whole, ...partial]);
      });
  return taken;
}

for (const kind of kinds)
  for (const { name, unified } of layouts) {
    test.serial(`${kind}, ${name}: only states as they were taken are put back`, async (t) => {
      await withContext(kind, unified, async (context) => {
        const expected = await decode(context, 0, 0, 30);
        context.removeTokens(0, -1, -1);
        // Of the other layout, too: a state does not depend on it.
        const own = layouts.flatMap((layout) => taken.get(`${kind}, ${layout.name}`)!);
        const foreign = [...taken].filter(([key]) => !key.startsWith(`${kind},`)).flatMap(([, states]) => states);
        const bytes = fc.oneof(
          { weight: 4, arbitrary: spoilt(own) },
          { weight: 2, arbitrary: fc.constantFrom(...own) },
          { weight: 1, arbitrary: fc.constantFrom(...foreign) },
          { weight: 1, arbitrary: fc.uint8Array({ maxLength: 200 }) },
        );
        let loads = 0;
        await fc.assert(
          fc.asyncProperty(bytes, fc.nat(1), fc.boolean(), fc.nat(100), async (state, sequence, part, from) => {
            const loaded = await context.loadState(sequence, state, part);
            if (!own.some((one) => Buffer.from(one).equals(state))) t.false(loaded, "not as it was taken");
            if (loaded) loads++;
            await decode(context, sequence, from, 2).catch((error: Error) => t.regex(error.message, /llama_decode|KV/));
            if (from % 3 === 0) context.copySequence(sequence, 1 - sequence);
            await context.saveState(sequence, part, 1e9);
            if (!loaded || from % 2 === 0) context.removeTokens(sequence, -1, -1);
          }),
          runs,
        );
        t.true(loads > 0, `${loads} states were put back`);
        await works(t, context, expected);
      });
    });

    test.serial(`${kind}, ${name}: a state that changes, or is taken away, while it is read`, async (t) => {
      await withContext(kind, unified, async (context) => {
        const expected = await decode(context, 0, 0, 30);
        for (let round = 0; round < 30; round++) {
          const state = (await context.saveState(0, false, 1e9))!;
          const given = round % 2 === 0 ? state : Uint8Array.from(state);
          const loading = context.loadState(1, given, false);
          if (round % 3 === 0) given.fill(255);
          else
            try {
              structuredClone(given, { transfer: [given.buffer as ArrayBuffer] });
            } catch {
              // Node does not give away memory that is not its own.
            }
          await loading;
          context.removeTokens(1, -1, -1);
        }
        await works(t, context, expected);
      });
    });
  }
