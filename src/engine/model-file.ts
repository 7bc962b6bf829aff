// Checks a model file before the engine sees it, because llama.cpp only says that it failed to load it, and describes it.
// Pure Node: loads no model, allocates no tensor.
import type { Config } from "../config.ts";
import { FileCursor, ModelFileError } from "./file-cursor.ts";
import { type GgufHeader, readGgufHeader } from "./gguf-header.ts";
import { fileTypes } from "./gguf-types.ts";
import { chooseModel, expectExisting, listParts } from "./model-paths.ts";

export { ModelFileError } from "./file-cursor.ts";

export type ModelFile = {
  /** What llama.cpp is given: the file, or the first part of a split model. Absolute. */
  readonly path: string;
  readonly parts: readonly string[];
  /** Of all parts. */
  readonly sizeBytes: number;
  /** Of the first part, Unix seconds. */
  readonly modifiedAt: number;
  readonly architecture: string;
  readonly name: string | undefined;
  /** Quantisation as its maker names it, or the type most of the weights have. */
  readonly fileType: string;
  readonly parameters: number;
  readonly tensors: number;
  /** Tokens the model was trained on. */
  readonly contextLength: number | undefined;
  readonly hasChatTemplate: boolean;
  /** f16 keys and values of 1024 tokens, at most; undefined where the model keeps another kind of state. */
  readonly kvBytesPer1024Tokens: number | undefined;
};

type ModelConfig = Pick<Config, "modelPath" | "modelName" | "modelsDir"> & Partial<Pick<Config, "chatTemplateFile">>;

/**
 * The model the configuration means, all parts of it checked; a chat template file must be there and readable.
 * @throws ModelFileError
 */
export function checkModel(config: ModelConfig): ModelFile & { readonly demo: boolean } {
  const { path, demo } = chooseModel(config);
  if (config.chatTemplateFile !== undefined) new FileCursor(config.chatTemplateFile).close();
  return { ...inspectModelFile(path, config.modelsDir), demo };
}

/**
 * The models for embeddings and reranking that the configuration names, all parts of them checked.
 * @throws ModelFileError naming the variable
 */
export function checkVectorModels(config: Pick<Config, "embeddingModelPath" | "rerankModelPath" | "modelsDir">): {
  readonly embedding: string | undefined;
  readonly rerank: string | undefined;
} {
  const { modelsDir } = config;
  return {
    embedding: checkSideModel("EMBEDDING_MODEL_PATH", config.embeddingModelPath, modelsDir),
    rerank: checkSideModel("RERANK_MODEL_PATH", config.rerankModelPath, modelsDir),
  };
}

/** The draft model that the configuration names, all parts of it checked. @throws ModelFileError naming the variable */
export function checkDraftModel(config: Pick<Config, "draftModelPath" | "modelsDir">): string | undefined {
  return checkSideModel("DRAFT_MODEL_PATH", config.draftModelPath, config.modelsDir);
}

function checkSideModel(variable: string, path: string | undefined, modelsDir: string): string | undefined {
  if (path === undefined) return undefined;
  try {
    return inspectModelFile(path, modelsDir).path;
  } catch (cause) {
    if (!(cause instanceof ModelFileError)) throw cause;
    throw new ModelFileError(`${variable}: ${cause.message}`, cause);
  }
}

/**
 * Reads the headers of a model file and of all parts that belong to it.
 * @param modelsDir whose files are listed when this one is missing
 * @throws ModelFileError
 */
export function inspectModelFile(path: string, modelsDir: string): ModelFile {
  const parts = listParts(path);
  if (parts.length === 1) expectExisting(path, modelsDir);
  const read = parts.map((part, index) => readPart(part, index, parts.length));
  const first = read[0]!;
  const headers = read.map(({ header }) => header);
  const tensors = sum(headers.map((header) => header.tensorCount));
  if (tensors === 0) throw new ModelFileError(`${path}: holds no tensors, only metadata or a vocabulary`);
  return {
    path: parts[0]!,
    parts,
    sizeBytes: sum(read.map(({ sizeBytes }) => sizeBytes)),
    modifiedAt: Math.floor(first.modifiedMs / 1000),
    tensors,
    parameters: sum(headers.map((header) => header.parameters)),
    ...describe(first.header, headers, path),
  };
}

type Part = { readonly header: GgufHeader; readonly sizeBytes: number; readonly modifiedMs: number };

function readPart(path: string, index: number, count: number): Part {
  const file = new FileCursor(path);
  try {
    const header = readGgufHeader(file);
    expectPlace(file, header, index, count);
    return { header, sizeBytes: file.sizeBytes, modifiedMs: file.modifiedMs };
  } finally {
    file.close();
  }
}

/** A split model's parts say which they are; llama.cpp finds the others by that and by the name. */
function expectPlace(file: FileCursor, { metadata }: GgufHeader, index: number, count: number): void {
  const place = Number(metadata.get("split.no") ?? 0);
  const total = Math.max(Number(metadata.get("split.count") ?? 1), 1);
  if (total === count && place === index) return;
  file.fail(
    `its name says part ${index + 1} of ${count}, its content says part ${place + 1} of ${total}; ` +
      "the parts of a split model are named …-00001-of-000NN.gguf and must not be renamed",
  );
}

function describe({ metadata }: GgufHeader, headers: readonly GgufHeader[], path: string) {
  const architecture = metadata.get("general.architecture");
  if (typeof architecture !== "string")
    throw new ModelFileError(`${path}: names no architecture (general.architecture)`);
  const type = String(metadata.get("general.type"));
  if (["adapter", "imatrix", "mmproj"].includes(type) || architecture === "clip") {
    throw new ModelFileError(
      `${path}: is not a language model but of the type ${architecture === "clip" ? "mmproj" : type}`,
    );
  }
  const name = metadata.get("general.name");
  const contextLength = metadata.get(`${architecture}.context_length`);
  return {
    architecture,
    name: typeof name === "string" ? name : undefined,
    fileType: fileTypes[Number(metadata.get("general.file_type"))] ?? mostCommonType(headers),
    contextLength: typeof contextLength === "number" ? contextLength : undefined,
    hasChatTemplate: metadata.has("tokenizer.chat_template"),
    kvBytesPer1024Tokens: kvBytes(metadata, architecture),
  };
}

function mostCommonType(headers: readonly GgufHeader[]): string {
  const bytes = new Map<string, number>();
  for (const [type, size] of headers.flatMap(({ bytesByType }) => [...bytesByType])) {
    bytes.set(type, (bytes.get(type) ?? 0) + size);
  }
  return [...bytes].reduce((most, entry) => (entry[1] > most[1] ? entry : most))[0];
}

/** Layers x KV heads x (key + value length) x 2 bytes x 1024. Sliding windows make it less; recurrent state is not KV. */
function kvBytes(metadata: GgufHeader["metadata"], architecture: string): number | undefined {
  const get = (key: string) => metadata.get(`${architecture}.${key}`);
  const layers = get("block_count");
  const heads = get("attention.head_count");
  const kvHeads = get("attention.head_count_kv") ?? heads;
  const headLength = typeof heads === "number" ? Number(get("embedding_length")) / heads : Number.NaN;
  const length =
    Number(get("attention.key_length") ?? headLength) + Number(get("attention.value_length") ?? headLength);
  if (get("ssm.state_size") !== undefined || get("attention.causal") === false) return undefined;
  const allKvHeads = typeof kvHeads === "object" ? sum(kvHeads) : Number(layers) * Number(kvHeads);
  const bytes = allKvHeads * length * 2 * 1024;
  return Number.isFinite(bytes) && bytes > 0 ? bytes : undefined;
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0);
