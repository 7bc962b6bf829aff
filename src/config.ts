// The one table of every environment variable, and the only file that reads process.env. loadConfig() finds every problem
// before it reports any, and its result is frozen.

import { chooseDataDir, type DataDir } from "./config/data-dir.ts";
import { fillDefaults } from "./config/defaults.ts";
import { ConfigError } from "./config/error.ts";
import { parseExtraArgs } from "./config/extra-args.ts";
import { findConflicts } from "./config/rules.ts";
import {
  type Derived,
  derived,
  type Obsolete,
  type Optional,
  obsolete,
  optional,
  type Setting,
  setting,
  type WithDefault,
} from "./config/setting.ts";
import * as is from "./config/values.ts";

export { ConfigError } from "./config/error.ts";

const ignored = "ignored, there is no backend server any more";
const maxTokens = 1048576;
/** CTX when it is not set, unless the model was trained on less. */
export const defaultCtx = 16384;

/** Every variable, in the order of the documents. */
export const table = {
  MODEL_PATH: optional(is.path, "model file; wins over MODEL_NAME. Neither: the embedded demo model"),
  MODEL_NAME: optional(is.relativePath, "model file under MODELS_DIR"),
  MODELS_DIR: derived(is.path, "$DATA_DIR/models", "folder of MODEL_NAME"),
  MODEL_ALIAS: derived(is.displayName, "file name without .gguf and split suffix", "model name shown to clients"),
  MODEL_STRICT: setting(is.boolean, "false", "refuse requests that name another model"),
  REASONING_FIELD: setting(
    is.oneOf("reasoning_content", "reasoning", "both"),
    "reasoning_content",
    "name of the field that carries a model's reasoning",
  ),
  CHAT_TEMPLATE_FILE: optional(is.path, "replaces the model file's chat template"),
  LORA_PATHS: optional(
    is.loraAdapters,
    "LoRA adapters applied to every request, unless the request's lora field sets scales",
  ),
  DRAFT_MODEL_PATH: optional(
    is.path,
    "small model of the same vocabulary for speculative decoding, used while at most 2 requests run",
  ),
  PROMPT_LOOKUP: setting(is.boolean, "false", "speculative decoding from what the text so far repeats; needs no model"),
  EMBEDDING_MODEL_PATH: optional(is.path, "side model for the embedding routes"),
  RERANK_MODEL_PATH: optional(is.path, "side model for the rerank routes"),
  CTX: optional(
    is.integer(128, maxTokens),
    "tokens one request may use, prompt + answer",
    `${defaultCtx}, or the training context if smaller`,
  ),
  MAX_CONCURRENT_REQUESTS: setting(is.integer(1, 256), "4", "sequences decoded together"),
  FIT: setting(is.boolean, "true", "lower concurrency, then CTX, until the KV cache fits into memory"),
  GPU: setting(is.oneOf("auto", "cuda", "vulkan", "cpu"), "auto", "device; cuda and vulkan fail without such a device"),
  NGL: setting(is.integerOr("auto", 0, 10000), "99", "layers on the GPU; 0 = none. Not used with GPU=cpu"),
  THREADS: setting(is.integer(0, 1024), "0", "CPU threads; 0 = the engine chooses"),
  BATCH: setting(is.integer(32, 65536), "2048", "prompt tokens per step"),
  UBATCH: derived(is.integer(32, 65536), "512, or BATCH if smaller", "prompt tokens per compute pass; at most BATCH"),
  FLASH_ATTN: setting(is.oneOf("auto", "on", "off"), "auto", "flash attention"),
  KV_TYPE_K: setting(is.oneOf("f16", "q8_0", "q4_0"), "f16", "type of the keys in the KV cache"),
  KV_TYPE_V: setting(
    is.oneOf("f16", "q8_0", "q4_0"),
    "f16",
    "type of the values in the KV cache; a quantised one needs FLASH_ATTN auto or on",
  ),
  KV_LAYOUT: setting(
    is.oneOf("auto", "streams", "unified"),
    "auto",
    "one KV part per sequence, or one pool shared by all; auto chooses by backend",
  ),
  PREFIX_CACHE_PERSIST: setting(is.boolean, "false", "save the hottest prefixes at drain and restore them at start"),
  ITL_TARGET_MS: setting(is.integer(1, 10000), "50", "step length aimed at while anyone is decoding, in milliseconds"),
  MLOCK: setting(is.boolean, "false", "pin the weights in RAM"),
  MMAP: setting(is.boolean, "true", "map the model file instead of reading it"),
  SEED: setting(is.integer(-1, 2 ** 32 - 1), "-1", "default seed; -1 = a fresh random one per request"),
  DEFAULT_TEMPERATURE: setting(is.decimal(0, 2), "1", "temperature of a request that sets none; 0 = greedy"),
  DEFAULT_TOP_P: setting(is.decimal(0, 1), "1", "top_p of a request that sets none; 1 = off"),
  DEFAULT_TOP_K: setting(is.integer(-1, 1000000), "40", "top_k of a request that sets none; 0 or less = off"),
  DEFAULT_MIN_P: setting(is.decimal(0, 1), "0.05", "min_p of a request that sets none; 0 = off"),
  DEFAULT_REPEAT_PENALTY: setting(is.decimal(0.01, 10), "1", "repeat_penalty of a request that sets none; 1 = off"),
  DEFAULT_MAX_TOKENS: setting(
    is.integer(-1, maxTokens),
    "-1",
    "max_tokens of a request that sets none; -1 = the route's",
  ),
  MAX_OUTPUT_TOKENS: setting(is.integer(0, maxTokens), "0", "cap on the answer length of any request; 0 = off"),
  PREFIX_CACHE: setting(is.boolean, "true", "reuse the KV cache of a prompt beginning seen before"),
  PREFIX_CACHE_SCOPE: setting(
    is.oneOf("key", "shared"),
    "key",
    "who may reuse it: the key that made it, or all (timing can then reveal that a prompt was seen)",
  ),
  EXTRA_ARGS: optional(is.text, "llama-server flags, for example -c 8192 -np 8; a flag beats its variable"),
  MOCK_BACKEND: setting(is.boolean, "false", "deterministic fake engine without a model file, for tests"),
  HOST: setting(is.address, "0.0.0.0", "address both ports listen on"),
  PORT: setting(is.integer(1, 65535), "8000", "port of the API"),
  PORT_HEALTH: setting(is.integer(1, 65535), "8001", "port of the health listener; differs from PORT"),
  CORS_ORIGINS: setting(is.list, "", "origins that browsers may call from, or *; empty = off"),
  MAX_REQUEST_BODY_SIZE: setting(is.integer(1024), "10485760", "largest request body in bytes"),
  MAX_HEADERS: setting(is.integer(8, 1000), "64", "most header lines of a request"),
  MAX_HEADER_LINE_SIZE: setting(is.integer(256, 65536), "8192", "longest header line in bytes, CRLF included"),
  MAX_REQUEST_LINE_SIZE: setting(is.integer(256, 65536), "8192", "longest request line in bytes, CRLF included"),
  CLIENT_HEADER_TIMEOUT: setting(is.positiveSeconds, "30", "total time for the head of a request"),
  CLIENT_BODY_TIMEOUT: setting(is.positiveSeconds, "60", "total time for the body of a request"),
  MAX_QUEUE_SIZE: setting(is.integer(0, 100000), "256", "most waiting requests; 0 = unlimited"),
  MAX_QUEUED_TOKENS: setting(is.integer(0), "0", "most prompt tokens of all waiting requests; 0 = off"),
  QUEUE_TIMEOUT: setting(is.positiveSeconds, "120", "longest wait for a sequence"),
  REQUEST_TIMEOUT: setting(is.positiveSeconds, "300", "from leaving the queue to the last byte"),
  MAX_REQUESTS_PER_MINUTE: setting(is.integer(1), "100", "requests per minute of a key without own limit"),
  MAX_TOKENS_PER_MINUTE: setting(is.integer(0), "0", "tokens per minute of a key without own limit; 0 = off"),
  REDIS_URL: { ...optional(is.redisUrl, "shares quotas between replicas"), secret: true },
  AUTH_ENABLED: setting(is.boolean, "true", "false: everything is open and there are no quotas"),
  AUTH_KEYS_FILE: derived(is.path, "$DATA_DIR/api_keys.txt", "the key file"),
  ADMIN_KEY_IDS: setting(is.list, "", "key ids that may use the admin routes; empty = any valid key"),
  METRICS_AUTH_ENABLED: setting(is.boolean, "false", "/metrics needs a key; needs AUTH_ENABLED=true"),
  DATA_DIR: derived(
    is.path,
    "/runpod-volume, /workspace or /data if writable, else ./data",
    "models, logs, keys, caches",
  ),
  LOG_DIR: derived(is.path, "$DATA_DIR/logs", "folder of all logs"),
  LOG_NAME: setting(is.logName, "llama", "folder of the server log under LOG_DIR"),
  WORKER_TYPE: optional(is.workerType, "makes LOG_NAME llama-<type>"),
  INSTANCE_ID: derived(is.instanceId, "$HOSTNAME", "name of this instance in log file names"),
  LOG_FORMAT: setting(is.oneOf("text", "json"), "text", "form of a log line"),
  LOG_LEVEL: setting(is.oneOf("error", "warn", "info", "debug"), "info", "least severe lines that are logged"),
  LOG_PROMPTS: setting(is.boolean, "false", "prompts and answers into the server log, at level info"),
  METRICS_VLLM_ALIASES: setting(is.boolean, "false", "repeat metrics under their vllm: names"),
  LOG_MAX_BYTES: setting(is.integer(0), "52428800", "size at which a log file is rotated; 0 = never"),
  LOG_MAX_FILES: setting(is.integer(1, 1000), "5", "rotated files kept per log"),
  DRAIN_TIMEOUT: setting(is.seconds(0), "30", "time running requests get to finish at shutdown"),
  IDLE_EXIT_SECONDS: setting(is.seconds(0), "0", "drain and exit 0 after this long without activity; 0 = off"),
  LIVENESS_STALL_SECONDS: setting(
    is.seconds(5),
    "30",
    "stall of the main loop or the engine after which /livez is 503",
  ),
  DEBUG_SHELL: setting(is.boolean, "false", "log the environment, sleep 300 s and exit, instead of serving"),
  PORT_BACKEND: obsolete(ignored),
  BACKEND_PORT: obsolete(ignored),
  BACKEND_HOST: obsolete(ignored),
  BACKEND_API_KEY: { ...obsolete(ignored), secret: true },
  BACKEND_CONNECT_TIMEOUT: obsolete(ignored),
  HEALTH_TIMEOUT: obsolete("ignored, the health port has its own deadlines"),
  GATEWAY_PORT: obsolete("used as PORT when PORT is unset"),
} as const satisfies Record<string, Setting>;

type Table = typeof table;
export type Name = keyof Table;
type LiveName = { [N in Name]: Table[N] extends Obsolete ? never : N }[Name];
type Camel<N extends string> = N extends `${infer Head}_${infer Tail}`
  ? `${Lowercase<Head>}${Capitalize<Camel<Tail>>}`
  : Lowercase<N>;
type ValueOf<S> = S extends WithDefault<infer T> | Derived<infer T>
  ? T
  : S extends Optional<infer T>
    ? T | undefined
    : never;

/** PORT_HEALTH is `portHealth`, and so on. Paths are absolute, times in seconds, CTX undefined unless set. */
export type Config = { readonly [N in LiveName as Camel<N>]: ValueOf<Table[N]> };
/** A configuration in the making. */
export type Draft = { -readonly [P in keyof Config]?: Config[P] };

export type Environment = Readonly<Record<string, string | undefined>>;

export type LoadedConfig = {
  readonly config: Config;
  /** One sentence each, for the log. */
  readonly warnings: readonly string[];
  readonly dataDir: DataDir;
  /** Where each value comes from: the variable or flag that was set, or "default". */
  readonly sources: Readonly<Record<LiveName, string>>;
};

/** PORT_HEALTH -> portHealth. */
export const propertyName = (name: string): keyof Config =>
  name.toLowerCase().replace(/_(.)/g, (_, letter: string) => letter.toUpperCase()) as keyof Config;

const liveSettings = Object.entries<Setting>(table).filter(([, entry]) => !("obsolete" in entry)) as [
  LiveName,
  WithDefault<unknown> | Derived<unknown> | Optional<unknown>,
][];

type Given = Map<LiveName, { readonly text: string; readonly from: string }>;
type Findings = { readonly problems: string[]; readonly warnings: string[] };

/** What the operator wrote: variables, then flags over them. */
function collect(env: Environment, { problems, warnings }: Findings): Given {
  const given: Given = new Map();
  for (const [name] of liveSettings) {
    const text = env[name]?.trim();
    if (text) given.set(name, { text, from: name });
  }
  applyObsolete(env, given, warnings);
  const extra = parseExtraArgs(given.get("EXTRA_ARGS")?.text ?? "");
  problems.push(...extra.problems);
  for (const { variable, flag, text } of extra.values) {
    const name = variable as LiveName;
    const overridden = given.get(name);
    if (overridden?.from === name) warnings.push(`${name} is set, but ${flag} in EXTRA_ARGS wins`);
    given.set(name, { text, from: `EXTRA_ARGS ${flag} (${name})` });
  }
  return given;
}

function applyObsolete(env: Environment, given: Given, warnings: string[]): void {
  for (const [name, entry] of Object.entries<Setting>(table)) {
    if ("obsolete" in entry && env[name]?.trim()) warnings.push(`${name} is obsolete: ${entry.help}`);
  }
  const port = env.GATEWAY_PORT?.trim();
  if (port && !given.has("PORT")) given.set("PORT", { text: port, from: "GATEWAY_PORT" });
}

function parse(given: Given, problems: string[]): Draft {
  const values: [string, unknown][] = liveSettings.map(([name, entry]) => {
    const { text, from } = given.get(name) ?? { text: "default" in entry ? entry.default : undefined, from: name };
    if (text === undefined) return [propertyName(name), undefined];
    const result = entry.kind.schema.safeParse(text);
    const shown = entry.secret ? "the value" : quote(text);
    if (!result.success) problems.push(`${from}: ${shown} is not allowed; expected ${entry.kind.allowed}`);
    return [propertyName(name), result.data];
  });
  return Object.fromEntries(values) as Draft;
}

/** A value as shown in messages: control characters escaped, long text cut. */
function quote(text: string): string {
  return JSON.stringify(text.length > 200 ? `${text.slice(0, 200)}…` : text);
}

/**
 * Reads, checks and freezes the configuration. Looks at the file system (DATA_DIR), changes nothing.
 * @throws ConfigError with one line for every problem
 */
export function loadConfig(env: Environment, findDataDir = chooseDataDir): LoadedConfig {
  const findings: Findings = { problems: [], warnings: [] };
  const given = collect(env, findings);
  const draft = parse(given, findings.problems);
  const dataDir = findDataDir(draft.dataDir);
  if (dataDir.problem) findings.problems.push(`DATA_DIR: ${dataDir.problem}`);
  fillDefaults(draft, dataDir.path, env);
  findConflicts(draft, findings);
  if (findings.problems.length > 0) throw new ConfigError(findings.problems);
  const sources = Object.fromEntries(liveSettings.map(([name]) => [name, given.get(name)?.from ?? "default"]));
  return {
    config: freeze(draft as Config),
    warnings: findings.warnings,
    dataDir,
    sources: sources as Record<LiveName, string>,
  };
}

function freeze<T extends object>(value: T): T {
  for (const inner of Object.values(value)) if (typeof inner === "object") freeze(inner);
  return Object.freeze(value);
}

/** Every variable that has a value, as text for printing; secrets are `***`. */
export function describeConfig(config: Config): Record<string, string> {
  const lines = liveSettings.map(([name, entry]) => {
    const value = config[propertyName(name)];
    if (value === undefined) return [];
    return [[name, entry.secret ? "***" : typeof value === "object" ? JSON.stringify(value) : String(value)]];
  });
  return Object.fromEntries(lines.flat()) as Record<string, string>;
}

/** Puts an optional `.env` of the working directory into the process's environment; names already there win, even when empty. */
export function loadDotEnv(file = ".env"): void {
  try {
    process.loadEnvFile(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
    throw new ConfigError([`${file}: cannot be read: ${(error as Error).message}`]);
  }
}

/** The environment as the operator and `.env` left it. */
export function readEnvironment(): Environment {
  loadDotEnv();
  return { ...process.env };
}

/** Tells the CUDA driver where to keep compiled kernels, unless the operator did. Call before the engine is loaded. */
export function setCudaCachePath(folder: string): void {
  if (!process.env.CUDA_CACHE_PATH) process.env.CUDA_CACHE_PATH = folder;
}
