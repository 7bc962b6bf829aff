// Random-weight models of the llama architecture, for measuring speed: the same seed and shape give the same file.
// What such a model says is noise, but noise that depends on the whole prompt and never ends by itself under greedy decoding.
import { blockBytes, blockValues, type GgufFile, type Metadata, type Tensor } from "./gguf-writer.ts";
import { RandomBytes } from "./random-bytes.ts";
import type { Shape } from "./shapes.ts";
import { makeVocabulary, type Vocabulary } from "./vocabulary.ts";

/** Rows per chunk of tensor data. */
const chunkRows = 256;
/** Standard deviation of a byte drawn evenly from -127 to 127. */
const byteDeviation = 127 / Math.sqrt(3);
/** Small against what the layers add, so that the model does not just repeat the last token. */
const embeddingDeviation = 0.02;
/** Standard deviation of the logits: sharp enough that sampling differs from a lottery. */
const logitDeviation = 3;
/** Attention that looks at few tokens strongly carries more of the prompt into the answer than an even mean. */
const attentionGain = 2;

export function randomModel(name: string, shape: Shape, seed: number): GgufFile {
  const vocabulary = makeVocabulary(shape.vocabulary);
  return { metadata: describe(name, shape, vocabulary), tensors: listTensors(shape, seed, vocabulary) };
}

function describe(name: string, shape: Shape, vocabulary: Vocabulary): Record<string, Metadata> {
  const normal = 1;
  const control = 3;
  const tokenTypes = vocabulary.tokens.map((_, id) => (id < vocabulary.beginOfText ? normal : control));
  return {
    "general.architecture": { type: "string", value: "llama" },
    "general.name": { type: "string", value: name },
    "general.file_type": { type: "uint32", value: 7 },
    "general.quantization_version": { type: "uint32", value: 2 },
    "llama.context_length": { type: "uint32", value: shape.context },
    "llama.embedding_length": { type: "uint32", value: shape.embedding },
    "llama.block_count": { type: "uint32", value: shape.layers },
    "llama.feed_forward_length": { type: "uint32", value: shape.feedForward },
    "llama.attention.head_count": { type: "uint32", value: shape.heads },
    "llama.attention.head_count_kv": { type: "uint32", value: shape.keyValueHeads },
    "llama.attention.layer_norm_rms_epsilon": { type: "float32", value: 1e-5 },
    "llama.rope.dimension_count": { type: "uint32", value: shape.embedding / shape.heads },
    "llama.rope.freq_base": { type: "float32", value: 10000 },
    "llama.vocab_size": { type: "uint32", value: shape.vocabulary },
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

function listTensors(shape: Shape, seed: number, vocabulary: Vocabulary): Tensor[] {
  const { embedding: width, feedForward } = shape;
  const keyValueWidth = (width / shape.heads) * shape.keyValueHeads;
  const stream = (index: number) => new RandomBytes(seed, index);
  // Rows of the control tokens stay zero: their logit is 0, and the largest of thousands of random ones never is.
  const controlRows = vocabulary.tokens.length - vocabulary.beginOfText;
  const tensors = [
    matrix("token_embd", width, shape.vocabulary, embeddingDeviation, stream(0), controlRows),
    norm("output_norm", width, logitDeviation / (embeddingDeviation * Math.sqrt(width))),
  ];
  for (let layer = 0; layer < shape.layers; layer += 1) {
    const add = (name: string, inputs: number, outputs: number, gain = 1) =>
      tensors.push(matrix(`blk.${layer}.${name}`, inputs, outputs, gain / Math.sqrt(inputs), stream(tensors.length)));
    tensors.push(norm(`blk.${layer}.attn_norm`, width, 1), norm(`blk.${layer}.ffn_norm`, width, 1));
    add("attn_q", width, width, attentionGain);
    add("attn_k", width, keyValueWidth, attentionGain);
    add("attn_v", width, keyValueWidth);
    add("attn_output", width, width, attentionGain);
    add("ffn_gate", width, feedForward);
    add("ffn_up", width, feedForward);
    add("ffn_down", feedForward, width);
  }
  return tensors;
}

function norm(name: string, width: number, gain: number): Tensor {
  const chunks = () => [Buffer.from(new Float32Array(width).fill(gain).buffer)];
  return { name: `${name}.weight`, dimensions: [width], type: "F32", chunks };
}

/** @param zeroRows how many of the last rows are zero */
function matrix(
  name: string,
  inputs: number,
  rows: number,
  deviation: number,
  random: RandomBytes,
  zeroRows = 0,
): Tensor {
  const scale = float16(deviation / byteDeviation);
  const rowBlocks = inputs / blockValues;
  function* chunks(): Generator<Buffer> {
    for (let row = 0; row < rows; row += chunkRows) {
      const count = Math.min(chunkRows, rows - row);
      const filled = Math.max(0, Math.min(count, rows - zeroRows - row));
      yield randomBlocks(count * rowBlocks, filled * rowBlocks, scale, random);
    }
  }
  return { name: `${name}.weight`, dimensions: [inputs, rows], type: "Q8_0", chunks };
}

/** Q8_0 blocks; those from `filled` on are zero. */
function randomBlocks(blocks: number, filled: number, scale: number, random: RandomBytes): Buffer {
  const data = Buffer.alloc(blocks * blockBytes);
  for (let block = 0; block < filled; block += 1) {
    const start = block * blockBytes;
    data.writeUInt16LE(scale, start);
    random.fill(data, start + 2, start + blockBytes);
  }
  return data;
}

/** Bits of the 16-bit float nearest to `value`, which must be a normal number of that type (6.1e-5 to 65504). */
export function float16(value: number): number {
  const exponent = Math.floor(Math.log2(value));
  const mantissa = Math.round((value / 2 ** exponent - 1) * 1024);
  return ((exponent + 15) << 10) + mantissa;
}
