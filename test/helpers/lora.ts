// Random LoRA adapters for models/tiny-chat.gguf, right or wrong in chosen places.
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Metadata, type Tensor, writeGguf } from "../../src/bench/gguf-writer.ts";
import { RandomBytes } from "../../src/bench/random-bytes.ts";

const layers = 4;
const width = 128;
const rank = 4;
/** Large enough that the adapter at scale 1 changes what tiny-chat says. */
const size = 0.6;

export type LoraOptions = {
  readonly seed?: number;
  readonly architecture?: string;
  /** general.type; an adapter's is "adapter". */
  readonly type?: string;
  /** Outputs of the adapted matrices; tiny-chat's have 128. */
  readonly outputs?: number;
  readonly metadata?: Readonly<Record<string, Metadata>>;
};

/** Writes an adapter of attn_q and attn_output in every layer. @returns its path */
export async function writeLora(options: LoraOptions = {}): Promise<string> {
  const { seed = 1, architecture = "llama", type = "adapter", outputs = width } = options;
  const path = join(mkdtempSync(join(tmpdir(), "lora-")), "adapter.gguf");
  const tensors = Array.from({ length: layers }, (_, layer) =>
    ["attn_q", "attn_output"].flatMap((name, index): Tensor[] => [
      matrix(`blk.${layer}.${name}.weight.lora_a`, width, rank, new RandomBytes(seed, layer * 4 + index * 2)),
      matrix(`blk.${layer}.${name}.weight.lora_b`, rank, outputs, new RandomBytes(seed, layer * 4 + index * 2 + 1)),
    ]),
  ).flat();
  const text = (value: string): Metadata => ({ type: "string", value });
  const metadata: Record<string, Metadata> = {
    "general.type": text(type),
    "general.architecture": text(architecture),
    "adapter.type": text("lora"),
    "adapter.lora.alpha": { type: "float32", value: rank },
    ...options.metadata,
  };
  await writeGguf(path, { metadata, tensors });
  return path;
}

function matrix(name: string, inputs: number, rows: number, random: RandomBytes): Tensor {
  const values = Float32Array.from({ length: inputs * rows }, () => ((random.below(2001) / 1000 - 1) * size) / 2);
  return { name, dimensions: [inputs, rows], type: "F32", chunks: () => [Buffer.from(values.buffer)] };
}
