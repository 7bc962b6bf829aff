// Random-weight models, for measuring speed and for tests: the same seed and shape give the same file.
// What such a model says is noise, but noise that depends on the whole prompt and never ends by itself under greedy decoding.
import type { GgufFile, Metadata, Tensor } from "./gguf-writer.ts";
import { RandomBytes } from "./random-bytes.ts";
import { type AddMatrix, layerTensors, stateLayer } from "./random-layers.ts";
import { matrix, norm, type WeightType } from "./random-tensors.ts";
import type { Shape } from "./shapes.ts";
import { makeVocabulary, type Vocabulary } from "./vocabulary.ts";

/** Small against what the layers add, so that the model does not just repeat the last token. */
const embeddingDeviation = 0.02;
/** Standard deviation of the logits: sharp enough that sampling differs from a lottery. */
const logitDeviation = 3;

/** llama.cpp's numbers for what most of a file's weights are. */
const fileTypes: Record<WeightType, number> = { F16: 1, Q8_0: 7 };

export function randomModel(name: string, shape: Shape, seed: number, weights: WeightType = "Q8_0"): GgufFile {
  const vocabulary = makeVocabulary(shape.vocabulary);
  const metadata = { ...describe(name, shape, weights), ...describeVocabulary(vocabulary) };
  return { metadata, tensors: listTensors(shape, seed, vocabulary, weights) };
}

function describe(name: string, shape: Shape, weights: WeightType): Record<string, Metadata> {
  return {
    "general.architecture": { type: "string", value: shape.architecture },
    "general.name": { type: "string", value: name },
    "general.file_type": { type: "uint32", value: fileTypes[weights] },
    ...(weights === "Q8_0" && { "general.quantization_version": { type: "uint32", value: 2 } }),
    ...prefixed(shape.architecture, {
      context_length: { type: "uint32", value: shape.context },
      embedding_length: { type: "uint32", value: shape.embedding },
      block_count: { type: "uint32", value: shape.layers },
      feed_forward_length: { type: "uint32", value: shape.feedForward },
      ...describeAttention(shape),
      "attention.layer_norm_rms_epsilon": { type: "float32", value: 1e-5 },
      ...describeMemory(shape),
      vocab_size: { type: "uint32", value: shape.vocabulary },
    }),
  };
}

function describeVocabulary(vocabulary: Vocabulary): Record<string, Metadata> {
  const normal = 1;
  const control = 3;
  const tokenTypes = vocabulary.tokens.map((_, id) => (id < vocabulary.beginOfText ? normal : control));
  return {
    "tokenizer.ggml.model": { type: "string", value: "gpt2" },
    "tokenizer.ggml.pre": { type: "string", value: "qwen2" },
    "tokenizer.ggml.tokens": { type: "strings", value: vocabulary.tokens },
    "tokenizer.ggml.token_type": { type: "int32s", value: tokenTypes },
    "tokenizer.ggml.merges": { type: "strings", value: vocabulary.merges },
    "tokenizer.ggml.bos_token_id": { type: "uint32", value: vocabulary.beginOfText },
    "tokenizer.ggml.eos_token_id": { type: "uint32", value: vocabulary.endOfText },
    "tokenizer.ggml.add_bos_token": { type: "bool", value: false },
  };
}

const prefixed = (prefix: string, metadata: Record<string, Metadata>): Record<string, Metadata> =>
  Object.fromEntries(Object.entries(metadata).map(([key, value]) => [`${prefix}.${key}`, value]));

function describeAttention(shape: Shape): Record<string, Metadata> {
  if (!("heads" in shape)) return {};
  const keyValueHeads = (layer: number) => (stateLayer(shape, layer) ? 0 : shape.keyValueHeads);
  return {
    "attention.head_count": { type: "uint32", value: shape.heads },
    "attention.head_count_kv":
      shape.architecture === "jamba"
        ? { type: "int32s", value: Array.from({ length: shape.layers }, (_, layer) => keyValueHeads(layer)) }
        : { type: "uint32", value: shape.keyValueHeads },
  };
}

/** What tells llama.cpp which kind of memory the model has. */
function describeMemory(shape: Shape): Record<string, Metadata> {
  const described: Record<string, Metadata> = {};
  if ("heads" in shape) {
    described["rope.dimension_count"] = { type: "uint32", value: shape.embedding / shape.heads };
    described["rope.freq_base"] = { type: "float32", value: 10000 };
  }
  if ("window" in shape) {
    described["attention.sliding_window"] = { type: "uint32", value: shape.window };
    described["attention.sliding_window_pattern"] = { type: "uint32", value: 2 };
  }
  if ("state" in shape) {
    described["ssm.conv_kernel"] = { type: "uint32", value: shape.convolution };
    described["ssm.inner_size"] = { type: "uint32", value: 2 * shape.embedding };
    described["ssm.state_size"] = { type: "uint32", value: shape.state };
    described["ssm.time_step_rank"] = { type: "uint32", value: shape.timeStepRank };
  }
  return described;
}

function listTensors(shape: Shape, seed: number, vocabulary: Vocabulary, weights: WeightType): Tensor[] {
  const width = shape.embedding;
  const stream = (index: number) => new RandomBytes(seed, index);
  // Rows of the control tokens stay zero: their logit is 0, and the largest of thousands of random ones never is.
  const controlRows = vocabulary.tokens.length - vocabulary.beginOfText;
  const tensors = [
    matrix("token_embd", weights, {
      inputs: width,
      rows: shape.vocabulary,
      deviation: embeddingDeviation,
      random: stream(0),
      zeroRows: controlRows,
    }),
    norm("output_norm", width, logitDeviation / (embeddingDeviation * Math.sqrt(width))),
  ];
  const add: AddMatrix = (name, inputs, rows, gain = 1) => {
    const noise = { inputs, rows, deviation: gain / Math.sqrt(inputs), random: stream(tensors.length) };
    tensors.push(matrix(name, weights, noise));
  };
  for (let layer = 0; layer < shape.layers; layer += 1) layerTensors(shape, layer, tensors, add);
  return tensors;
}
