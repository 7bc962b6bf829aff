// Random LoRA adapters for models/tiny-chat.gguf, right or wrong in chosen places, and for random models of every kind.
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Metadata, type Tensor, writeGguf } from "../../src/bench/gguf-writer.ts";
import { RandomBytes } from "../../src/bench/random-bytes.ts";
import { stateLayer } from "../../src/bench/random-layers.ts";
import type { Shape } from "../../src/bench/shapes.ts";

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

type Matrix = { readonly name: string; readonly inputs: number; readonly outputs: number };

/** Writes an adapter of attn_q and attn_output in every layer of tiny-chat. @returns its path */
export function writeLora({ outputs = 128, architecture = "llama", ...options }: LoraOptions = {}): Promise<string> {
  const matrices = [0, 1, 2, 3].flatMap((layer) =>
    ["attn_q", "attn_output"].map((name): Matrix => ({ name: `blk.${layer}.${name}`, inputs: 128, outputs })),
  );
  return writeAdapter(matrices, { architecture, ...options });
}

/** Writes an adapter of what reads each layer's input, for a random model of that shape. @returns its path */
export function writeLoraFor(shape: Shape, seed = 1): Promise<string> {
  const { architecture, embedding } = shape;
  const matrices = Array.from({ length: shape.layers }, (_, layer): Matrix => {
    const state = stateLayer(shape, layer);
    return {
      name: `blk.${layer}.${state ? "ssm_in" : "attn_q"}`,
      inputs: embedding,
      outputs: embedding * (state ? 4 : 1),
    };
  });
  return writeAdapter(matrices, { architecture, seed });
}

async function writeAdapter(
  matrices: readonly Matrix[],
  { seed = 1, architecture, type = "adapter", metadata: more }: LoraOptions & { readonly architecture: string },
): Promise<string> {
  const path = join(mkdtempSync(join(tmpdir(), "lora-")), "adapter.gguf");
  const tensors = matrices.flatMap(({ name, inputs, outputs }, index) => [
    matrix(`${name}.weight.lora_a`, inputs, rank, new RandomBytes(seed, index * 2)),
    matrix(`${name}.weight.lora_b`, rank, outputs, new RandomBytes(seed, index * 2 + 1)),
  ]);
  const text = (value: string): Metadata => ({ type: "string", value });
  const metadata: Record<string, Metadata> = {
    "general.type": text(type),
    "general.architecture": text(architecture),
    "adapter.type": text("lora"),
    "adapter.lora.alpha": { type: "float32", value: rank },
    ...more,
  };
  await writeGguf(path, { metadata, tensors });
  return path;
}

function matrix(name: string, inputs: number, rows: number, random: RandomBytes): Tensor {
  const values = Float32Array.from({ length: inputs * rows }, () => ((random.below(2001) / 1000 - 1) * size) / 2);
  return { name, dimensions: [inputs, rows], type: "F32", chunks: () => [Buffer.from(values.buffer)] };
}
