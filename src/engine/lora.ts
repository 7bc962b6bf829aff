// The LoRA adapters of the main model (LORA_PATHS): loaded once, each with a scale of its own in every request. Says what of the KV
// cache requests of different scales may share: nothing.
import { statSync } from "node:fs";
import type { LoraAdapter } from "../config/values.ts";
import type { Logger } from "../telemetry/log.ts";
import type { NativeModel } from "./addon.ts";

export class LoraAdapters {
  /** Of requests that set none, by adapter id. */
  readonly scales: readonly number[];
  /** Tell adapters apart, also after a restart with other files. */
  readonly #identities: readonly string[];

  constructor(adapters: readonly { readonly scale: number; readonly identity: string }[]) {
    this.scales = adapters.map(({ scale }) => scale);
    this.#identities = adapters.map(({ identity }) => identity);
  }

  /** The cache scope of a request: what was computed with other scales is no more its own than another key's. */
  scope(scope: string | null, scales: readonly number[]): string | null {
    if (scope === null) return null;
    const inUse = this.#identities.flatMap((identity, id) => (scales[id] ? [`\n${scales[id]} ${identity}`] : []));
    return scope + inUse.join("");
  }
}

/**
 * In the order of the list: an adapter's id is its place in it.
 * @param adapters their files were checked before (adapter-file.ts)
 * @throws Error naming LORA_PATHS and the file that llama.cpp refuses
 */
export async function loadAdapters(
  native: NativeModel,
  adapters: readonly LoraAdapter[],
  log: Logger,
): Promise<LoraAdapters> {
  const loaded: { scale: number; identity: string }[] = [];
  for (const { path, scale } of adapters) {
    let id: number;
    try {
      id = await native.loadAdapter(path);
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new Error(`LORA_PATHS (${path}): the adapter could not be loaded: ${reason}`, { cause });
    }
    const { size, mtimeMs } = statSync(path);
    loaded.push({ scale, identity: `${size} ${mtimeMs} ${path}` });
    log.info({ id, path, scale }, "LoRA adapter loaded");
  }
  return new LoraAdapters(loaded);
}
