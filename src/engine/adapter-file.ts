// Checks the LoRA adapters that LORA_PATHS names before the engine sees them. Reads headers only; whether an adapter's tensors fit
// the model's is llama.cpp's to say.
import type { LoraAdapter } from "../config/values.ts";
import { FileCursor, ModelFileError } from "./file-cursor.ts";
import { type GgufHeader, readGgufHeader } from "./gguf-header.ts";

/**
 * @param architecture the main model's
 * @throws ModelFileError naming LORA_PATHS and the file
 */
export function checkAdapters(adapters: readonly LoraAdapter[], architecture: string): void {
  for (const { path } of adapters) {
    try {
      checkAdapter(path, architecture);
    } catch (cause) {
      if (!(cause instanceof ModelFileError)) throw cause;
      throw new ModelFileError(`LORA_PATHS: ${cause.message}`, cause);
    }
  }
}

function checkAdapter(path: string, architecture: string): void {
  const file = new FileCursor(path);
  try {
    const problem = objectionTo(readGgufHeader(file), architecture);
    if (problem !== undefined) file.fail(problem);
  } finally {
    file.close();
  }
}

function objectionTo({ metadata }: GgufHeader, architecture: string): string | undefined {
  const [type, kind, made] = ["general.type", "adapter.type", "general.architecture"].map((key) => metadata.get(key));
  if (type !== "adapter" || kind !== "lora") return "is a GGUF file, but not a LoRA adapter";
  if (made !== architecture) return `is an adapter for the architecture ${made}, but the model's is ${architecture}`;
  if (metadata.has("adapter.alora.invocation_tokens")) {
    return "is an activated LoRA (aLoRA), which takes effect inside a prompt; only plain LoRA adapters can be applied";
  }
  return undefined;
}
