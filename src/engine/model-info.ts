// What is told about the main model: its figures, its special tokens as text, and the build id that names this very combination.
import { createHash } from "node:crypto";
import { statSync } from "node:fs";
import type { Addon, NativeChatTemplates, NativeModel, NativeModelDescription } from "./addon.ts";
import type { FimTokens, ModelInfo } from "./engine.ts";
import type { TokenPieces } from "./text-stream.ts";

export type DescribedModel = {
  readonly name: string;
  readonly path: string;
  readonly contextTokens: number;
  readonly addon: Addon;
  readonly native: NativeModel;
  readonly templates: NativeChatTemplates;
  /** Special tokens as text. */
  readonly pieces: TokenPieces;
  /** Of the LoRA adapters by id, where a request sets none. */
  readonly loraScales: readonly number[];
};

export function describeModel(model: DescribedModel): ModelInfo {
  const { name, path, contextTokens, addon, native, templates, pieces, loraScales } = model;
  const described = native.describe();
  const { vocabType, vocabSize, trainContextTokens, embeddingLength, parameters, sizeBytes, ftype } = described;
  const file = statSync(path);
  const build = [addon.llamaCppTag, addon.nodeLlamaCppVersion, file.size, file.mtimeMs].join(" ");
  return {
    name,
    created: Math.floor(file.mtimeMs / 1000),
    buildId: `b${createHash("sha256").update(build).digest("hex").slice(0, 12)}`,
    contextTokens,
    trainContextTokens,
    vocabType,
    vocabSize,
    embeddingLength,
    parameters,
    sizeBytes,
    ftype,
    chatTemplate: { source: templates.source, caps: templates.caps },
    bosToken: specialText(pieces, described.bosToken),
    eosToken: specialText(pieces, described.eosToken),
    endTokens: [...native.endOfGenerationTokens()],
    fim: describeFim(described),
    loraScales,
  };
}

const specialText = (pieces: TokenPieces, token: number) =>
  token < 0 ? "" : Buffer.from(pieces.bytes(token)).toString();

function describeFim(model: NativeModelDescription): FimTokens | null {
  const { fimPrefix: prefix, fimSuffix: suffix, fimMiddle: middle, fimRepository: repository, fimFile: file } = model;
  return prefix < 0 || suffix < 0 || middle < 0 ? null : { prefix, suffix, middle, repository, file };
}
