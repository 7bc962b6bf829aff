// Whatever JavaScript hands to the addon is an error or is served: nothing ends the process, and a context works on afterwards.
import test from "ava";
import fc from "fast-check";
import { getLlama, type Llama, LlamaLogLevel, type LlamaModel } from "node-llama-cpp";
import type { Addon, NativeContext, NativeModel } from "../../src/engine/addon.ts";
import { loadAddon } from "../../src/engine/load-addon.ts";
import { greedy } from "../helpers/requests.ts";
import { tinyChatPath } from "../helpers/tiny-engine.ts";

const options = {
  contextTokens: 256,
  batchTokens: 16,
  microBatchTokens: 16,
  sequences: 2,
  threads: 1,
  flashAttention: "auto",
  keyType: "f16",
  valueType: "f16",
  unified: false,
} as const;

const constraint = {
  kind: "user",
  grammar: "root ::= [a-z]+",
  lazy: false,
  triggers: [],
  generationPrompt: "",
  thinkingStartTag: "",
  thinkingEndTags: [],
  budgetTokens: -1,
  budgetMessage: "",
} as const;

let llama: Llama;
let loaded: LlamaModel;
let raw: unknown;
let addon: Addon;
let model: NativeModel;
test.before(async () => {
  llama = await getLlama({ build: "never", gpu: false, skipDownload: true, logLevel: LlamaLogLevel.disabled });
  loaded = await llama.loadModel({ modelPath: tinyChatPath });
  raw = (loaded as unknown as { _model: unknown })._model;
  addon = loadAddon();
  model = new addon.Model(raw);
});
test.after.always(async () => {
  await loaded.dispose();
  await llama.dispose();
});

const runs = { numRuns: 400 };
const numbers = fc.oneof(
  fc.integer({ min: -3, max: 40 }),
  fc.integer(),
  fc.double(),
  fc.constantFrom(2 ** 31, -(2 ** 31), 1e300),
);

/** Values of every type, arrays of the wrong kind and detached ones, and objects that are the addon's own or pretend to be. */
function anything(own: readonly unknown[]): fc.Arbitrary<unknown> {
  const arrays = fc.constantFrom(
    new Uint8Array(7),
    new Float64Array(3),
    new Int32Array([-1, 2 ** 30]),
    new BigInt64Array(2),
    new DataView(new ArrayBuffer(3)),
    detached(),
  );
  const odd = fc.constantFrom<unknown>(
    undefined,
    null,
    Symbol("odd"),
    10n,
    () => 1,
    /x/,
    new Proxy({}, {}),
    "",
    "\0",
    "\ud800",
  );
  const pretending = fc.constantFrom<unknown>(
    { constructor: { name: "AddonModel" } },
    Object.create(addon.Model.prototype),
    {
      valueOf: () => {
        throw new Error("no number");
      },
    },
  );
  return fc.oneof(numbers, arrays, odd, pretending, fc.constantFrom(...own), fc.anything());
}

function detached(): Int32Array {
  const array = new Int32Array(4);
  structuredClone(array, { transfer: [array.buffer] });
  return array;
}

/** No context of a size that this machine would try to find the memory for. */
const affordable = (value: unknown) => typeof value !== "number" || !(value > 64);

/** Calls and waits; only an Error may come of it. @returns whether it went well */
async function survives(call: () => unknown): Promise<boolean> {
  try {
    await call();
    return true;
  } catch (error) {
    if (!(error instanceof Error)) throw new Error(`thrown was ${String(error)}`);
    return false;
  }
}

/** The right settings with one of them wrong, or something else altogether. */
const spoiled = (right: object, wrong: fc.Arbitrary<unknown>) =>
  fc.oneof(
    {
      weight: 4,
      arbitrary: fc
        .tuple(fc.constantFrom(...Object.keys(right)), wrong)
        .map(([key, value]) => ({ ...right, [key]: value })),
    },
    { weight: 1, arbitrary: wrong },
  );

async function withContext(use: (context: NativeContext) => Promise<void>): Promise<void> {
  const context = await addon.createContext(model, options);
  try {
    await use(context);
  } finally {
    context.dispose();
  }
}

/** Steps that run ahead are over. */
async function comesToRest(context: NativeContext): Promise<void> {
  while (context.runsAhead()) await survives(() => context.next(false));
}

/** Decodes one token and samples after it. */
async function works(context: NativeContext): Promise<boolean> {
  await comesToRest(context);
  for (const sequence of [0, 1]) context.removeTokens(sequence, -1, -1);
  context.setSampler(0, greedy, new Int32Array(), -1);
  const buffers = context.buffers();
  [buffers.tokens[0], buffers.positions[0], buffers.sequences[0], buffers.outputs[0]] = [300, 0, 0, 1];
  return (await context.step(1)) === 1 && buffers.sampled[0]! >= 0;
}

test.serial("arguments of a context's methods", async (t) => {
  await withContext(async (context) => {
    const value = anything([model, context, raw, greedy, new Int32Array([1, 2, 300])]);
    const names = [
      "buffers",
      "step",
      "runsAhead",
      "next",
      "hold",
      "stepMs",
      "removeTokens",
      "copySequence",
      "firstPosition",
      "saveState",
      "loadState",
      "setSampler",
      "clearSampler",
      "moveSampler",
      "samplingFailure",
      "setAdapters",
      "memory",
    ] as const;
    const call = fc.tuple(
      fc.constantFrom(...names),
      fc.array(fc.oneof(value, spoiled(greedy, value)), { maxLength: 5 }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(call, { maxLength: 6 }), async (calls) => {
        for (const [name, args] of calls)
          await survives(() => (context[name] as (...args: unknown[]) => unknown)(...args));
      }),
      runs,
    );
    t.true(await works(context));
  });
});

test.serial("batches that change while their step runs, and buffers that are taken away", async (t) => {
  await withContext(async (context) => {
    const buffers = context.buffers();
    const entries = fc.array(
      fc.tuple(numbers, numbers, fc.integer({ min: -1, max: 2 }), fc.integer({ min: -1, max: 2 })),
      { maxLength: 16 },
    );
    const write = (values: [number, number, number, number][]) => {
      for (const [i, [token, position, sequence, output]] of values.entries()) {
        buffers.tokens[i] = token;
        buffers.positions[i] = position;
        buffers.sequences[i] = sequence;
        buffers.outputs[i] = output;
      }
    };
    await fc.assert(
      fc.asyncProperty(
        entries,
        entries,
        numbers,
        fc.boolean(),
        fc.boolean(),
        async (before, during, count, ...flags) => {
          const [ordinary, ahead] = flags;
          context.setSampler(0, greedy, new Int32Array(), 20);
          context.setSampler(1, { ...greedy, temperature: 1, repeatPenalty: 1.5 }, new Int32Array([1, 2, 3]), -1);
          write(
            ordinary
              ? [
                  [300, 0, 0, 1],
                  [301, 0, 1, 1],
                ]
              : before,
          );
          await survives(() => {
            const running = context.step(ordinary ? 2 : count, ahead);
            write(during);
            return running;
          });
          await comesToRest(context);
          for (const sequence of [0, 1]) context.removeTokens(sequence, -1, -1);
        },
      ),
      runs,
    );
    t.true(await works(context));
    for (const array of Object.values(context.buffers())) {
      await survives(() => structuredClone(array, { transfer: [array.buffer as ArrayBuffer] }));
    }
    t.true(await survives(() => works(context)));
  });
});

test.serial("outputs of one sequence that do not follow each other are refused", async (t) => {
  await withContext(async (context) => {
    context.setSampler(0, greedy, new Int32Array(), -1);
    const buffers = context.buffers();
    buffers.tokens.set([300, 301, 302]);
    buffers.positions.set([0, 1, 2]);
    buffers.sequences.set([0, 0, 0]);
    buffers.outputs.set([1, 0, 1]);
    t.throws(() => context.step(3), { message: /do not follow each other/ });
    t.throws(() => context.setSampler(0, greedy, new Int32Array([1, 5000]), -1), { message: /vocabulary/ });
    t.true(await works(context));
  });
});

test.serial("arguments of the addon's functions and of the model", async (t) => {
  await withContext(async (context) => {
    const value = anything([model, context, raw, greedy, options, constraint, addon]);
    const functions = [
      "createContext",
      "describePooling",
      "createEmbeddingContext",
      "createDraftContext",
      "tokenizePairs",
      "prepareSampler",
    ] as const;
    const given = fc.oneof(
      value,
      spoiled(options, value.filter(affordable)),
      spoiled(constraint, value),
      spoiled(greedy, value),
    );
    const disposing = async (made: unknown) => {
      const dispose = (made as { dispose?: () => void } | undefined)?.dispose;
      if (typeof dispose === "function") dispose.call(made);
    };
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...functions),
        fc.boolean(),
        fc.array(given, { maxLength: 4 }),
        async (name, right, args) => {
          const call = addon[name] as (...args: unknown[]) => unknown;
          await survives(async () => disposing(await call(...(right ? [model] : []), ...args)));
          await survives(() => new addon.Model(args[0]));
          for (const made of [addon.AnswerParser, addon.PromptLookup]) {
            await survives(() => new (made as new (...args: unknown[]) => unknown)(...args));
          }
        },
      ),
      runs,
    );
    const methods = ["describe", "pieces", "endOfGenerationTokens", "tokenize", "renderChat"] as const;
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...methods), fc.array(value, { maxLength: 3 }), async (name, args) => {
        await survives(() => (model[name] as (...args: unknown[]) => unknown)(...args));
        await survives(() => (model[name] as (...args: unknown[]) => unknown).apply(context, args));
      }),
      runs,
    );
    t.true(await works(context));
  });
});

test.serial("arguments of a draft model's context, and of lookups in a text", async (t) => {
  const context = await addon.createDraftContext(model, options, 4, 0);
  const lookup = new addon.PromptLookup([2], 4);
  const right = { sequence: 0, keep: 0, read: Int32Array.of(1, 2), last: 3, most: 2 };
  const value = anything([model, context, lookup, new Int32Array([1, 2, 300])]);
  const requests = fc.oneof(fc.array(spoiled(right, value), { maxLength: 3 }), value);
  await fc.assert(
    fc.asyncProperty(requests, fc.array(value, { maxLength: 4 }), async (asked, args) => {
      await survives(() => context.draft(asked as (typeof right)[]));
      await survives(() => (context.memory as (...args: unknown[]) => unknown)(...args));
      await survives(() => (lookup.lookUp as (...args: unknown[]) => unknown)(...args));
    }),
    runs,
  );
  t.is((await context.draft([right]))[0]!.guesses.length, 2);
  context.dispose();
});

test.serial("after dispose everything is an error", async (t) => {
  const context = await addon.createContext(model, options);
  const other = await addon.createContext(model, options);
  context.dispose();
  const value = anything([model, context]);
  await fc.assert(
    fc.asyncProperty(fc.array(value, { maxLength: 4 }), async (args) => {
      for (const name of [
        "step",
        "removeTokens",
        "copySequence",
        "firstPosition",
        "saveState",
        "loadState",
        "setSampler",
        "clearSampler",
        "moveSampler",
        "moveSampler",
        "samplingFailure",
        "setAdapters",
        "memory",
      ] as const) {
        t.false(await survives(() => (context[name] as (...args: unknown[]) => unknown)(...args)));
      }
      await survives(() => context.buffers());
      context.dispose();
    }),
    { numRuns: 60 },
  );
  // Settings whose reading disposes the context.
  const treacherous = Object.defineProperty({ ...greedy }, "seed", {
    get: () => {
      other.dispose();
      return 1;
    },
  });
  t.throws(() => other.setSampler(0, treacherous, new Int32Array(), -1), { message: /disposed/ });
});
