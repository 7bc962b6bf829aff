// The tensors of one layer of each architecture that random models have, under llama.cpp's names and in its dimensions.
import type { Tensor } from "./gguf-writer.ts";
import { floats, norm } from "./random-tensors.ts";
import type { HybridShape, RecurrentShape, Shape } from "./shapes.ts";

/** Adds a matrix of noise whose outputs are `gain` times as large as its inputs. */
export type AddMatrix = (name: string, inputs: number, outputs: number, gain?: number) => void;

/** Attention that looks at few tokens strongly carries more of the prompt into the answer than an even mean. */
const attentionGain = 2;
/** Bias of the time step: softplus(-3) is 0.05, so a state still knows tokens that are hundreds of steps back. */
const timeStepBias = -3;

/** The layer keeps a state instead of keys and values. */
export function stateLayer(shape: Shape, layer: number): boolean {
  return shape.architecture === "mamba" || (shape.architecture === "jamba" && layer % 2 === 0);
}

/** Appends the layer's tensors to `tensors`, those of noise through `add`. */
export function layerTensors(shape: Shape, layer: number, tensors: Tensor[], add: AddMatrix): void {
  const block = `blk.${layer}`;
  tensors.push(norm(`${block}.attn_norm`, shape.embedding, 1));
  // A pure state-space layer has no feed-forward part.
  if (shape.architecture !== "mamba") tensors.push(norm(`${block}.ffn_norm`, shape.embedding, 1));
  if (stateLayer(shape, layer)) addState(shape as RecurrentShape | HybridShape, block, tensors, add);
  else addAttention(shape as Exclude<Shape, RecurrentShape>, block, tensors, add);
  if (shape.architecture === "mamba") return;
  add(`${block}.ffn_gate`, shape.embedding, shape.feedForward);
  add(`${block}.ffn_up`, shape.embedding, shape.feedForward);
  add(`${block}.ffn_down`, shape.feedForward, shape.embedding);
}

function addAttention(shape: Exclude<Shape, RecurrentShape>, block: string, tensors: Tensor[], add: AddMatrix): void {
  const width = shape.embedding;
  const headWidth = width / shape.heads;
  add(`${block}.attn_q`, width, width, attentionGain);
  add(`${block}.attn_k`, width, headWidth * shape.keyValueHeads, attentionGain);
  add(`${block}.attn_v`, width, headWidth * shape.keyValueHeads);
  add(`${block}.attn_output`, width, width, attentionGain);
  if (shape.architecture !== "gemma3") return;
  tensors.push(norm(`${block}.attn_q_norm`, headWidth, attentionGain));
  tensors.push(norm(`${block}.attn_k_norm`, headWidth, attentionGain));
  tensors.push(norm(`${block}.post_attention_norm`, width, 1), norm(`${block}.post_ffw_norm`, width, 1));
}

function addState(shape: RecurrentShape | HybridShape, block: string, tensors: Tensor[], add: AddMatrix): void {
  const { embedding, state, convolution, timeStepRank } = shape;
  const inner = 2 * embedding;
  add(`${block}.ssm_in`, embedding, 2 * inner);
  add(`${block}.ssm_x`, inner, timeStepRank + 2 * state);
  add(`${block}.ssm_dt`, timeStepRank, inner);
  add(`${block}.ssm_out`, inner, embedding);
  tensors.push(
    // The newest token counts most; channels differ, so that the order of tokens matters.
    floats(
      `${block}.ssm_conv1d.weight`,
      [convolution, inner],
      (index) => Math.cos(index) / (convolution - (index % convolution)),
    ),
    floats(`${block}.ssm_conv1d.bias`, [inner], () => 0),
    floats(`${block}.ssm_dt.bias`, [inner], () => timeStepBias),
    // Decay: the slowest numbers of a channel's state remember longest.
    floats(`${block}.ssm_a`, [state, inner], (index) => -((index % state) + 1) / state),
    floats(`${block}.ssm_d`, [inner], () => 1),
  );
  if (shape.architecture !== "jamba") return;
  tensors.push(norm(`${block}.ssm_dt_norm`, timeStepRank, 1));
  tensors.push(norm(`${block}.ssm_b_norm`, state, 1), norm(`${block}.ssm_c_norm`, state, 1));
}
