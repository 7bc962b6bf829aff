import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import { getLlama, LlamaLogLevel, type LlamaModel } from "node-llama-cpp";
import { type Tensor, writeGguf } from "../../src/bench/gguf-writer.ts";
import { randomModel } from "../../src/bench/random-model.ts";
import { float16, type WeightType, weightTypes } from "../../src/bench/random-tensors.ts";
import { type ShapeName, shapes } from "../../src/bench/shapes.ts";
import { makeVocabulary } from "../../src/bench/vocabulary.ts";
import { inspectModelFile } from "../../src/engine/model-file.ts";

const folder = await mkdtemp(join(tmpdir(), "make-model-"));
test.after.always(() => rm(folder, { recursive: true }));

const tinyShapes = ["tiny", "tiny-window", "tiny-recurrent", "tiny-hybrid"] as const;

async function makeTiny(name: string, seed: number, shape: ShapeName = "tiny", weights?: WeightType): Promise<string> {
  const path = join(folder, name);
  await writeGguf(path, randomModel(`random ${shape}`, shapes[shape], seed, weights));
  return path;
}

const digest = (path: string) => createHash("sha256").update(readFileSync(path)).digest("hex");

test("the same seed makes the same file, another seed another", async (t) => {
  const [one, same, other] = await Promise.all([makeTiny("a.gguf", 1), makeTiny("b.gguf", 1), makeTiny("c.gguf", 2)]);
  t.is(digest(one), digest(same));
  t.not(digest(one), digest(other));
});

test("a random model passes the server's own check of model files", async (t) => {
  for (const shape of tinyShapes) {
    const model = inspectModelFile(await makeTiny(`checked ${shape}.gguf`, 1, shape), folder);
    t.is(model.path, join(folder, `checked ${shape}.gguf`));
    t.is(model.architecture, shapes[shape].architecture);
  }
});

test("a write that fails leaves no file behind", async (t) => {
  const path = join(folder, "failed.gguf");
  const broken: Tensor = {
    name: "broken",
    dimensions: [32],
    type: "F32",
    chunks: () => {
      throw new Error("no data");
    },
  };
  await t.throwsAsync(writeGguf(path, { metadata: {}, tensors: [broken] }), { message: "no data" });
  t.deepEqual(
    (await readdir(folder)).filter((name) => name.startsWith("failed")),
    [],
  );
});

for (const [shape, weights] of tinyShapes.flatMap((shape) => weightTypes.map((weights) => [shape, weights] as const)))
  test(`node-llama-cpp loads a random model (${shape}, ${weights}); what it says depends on the whole prompt and repeats`, async (t) => {
    const llama = await getLlama({ build: "never", gpu: false, logLevel: LlamaLogLevel.error });
    const model = await llama.loadModel({
      modelPath: await makeTiny(`loaded ${shape} ${weights}.gguf`, 1, shape, weights),
    });
    try {
      const text = "any text: ünïcode, 12 numbers";
      t.true(model.typeDescription.includes(weights), model.typeDescription);
      t.is(model.detokenize(model.tokenize(text)), text);
      const answers = await greedyAnswers(model, [`a ${text}`, `b ${text}`, `a ${text}`]);
      t.is(answers[0]?.length, 24);
      t.deepEqual(answers[0], answers[2]);
      t.notDeepEqual(answers[0]?.slice(-8), answers[1]?.slice(-8));
      t.true(new Set(answers[0]).size > 4, "not one token for ever");
    } finally {
      await model.dispose();
      await llama.dispose();
    }
  });

/** 24 tokens each, one prompt after the other; they end before that only at an end token. */
async function greedyAnswers(model: LlamaModel, prompts: readonly string[]): Promise<number[][]> {
  const context = await model.createContext({ contextSize: 256, threads: 1 });
  const sequence = context.getSequence();
  const answers: number[][] = [];
  for (const prompt of prompts) {
    await sequence.clearHistory();
    const answer: number[] = [];
    for await (const token of sequence.evaluate(model.tokenize(prompt), { temperature: 0 })) {
      answer.push(token);
      if (answer.length === 24) break;
    }
    answers.push(answer);
  }
  return answers;
}

for (const size of [258, 1024, 49152, 131072]) {
  test(`a vocabulary of ${size} has that many different tokens, each the product of its merge`, (t) => {
    const { tokens, merges, endOfText } = makeVocabulary(size);
    t.is(new Set(tokens).size, size);
    t.is(endOfText, size - 1);
    t.deepEqual(
      merges.map((merge) => merge.replace(" ", "")),
      tokens.slice(256, -2),
    );
  });
}

test("a vocabulary larger than there are pieces is refused", (t) => {
  t.throws(() => makeVocabulary(1_000_000), { instanceOf: RangeError });
});

test("float16 gives the bits of the nearest 16-bit float", (t) => {
  t.is(float16(1), 0x3c00);
  t.is(float16(0.5), 0x3800);
  t.is(float16(0.1), 0x2e66);
  t.is(float16(1.99999), 0x4000);
});
