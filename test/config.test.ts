// The configuration as an operator meets it: what each variable accepts, what is said when it is wrong, what wins over what.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import test from "ava";
import { ConfigError, describeConfig, type Environment, loadConfig, propertyName, table } from "../src/config.ts";
import { startNode } from "./helpers/process.ts";

const dataDir = () => ({ path: "/the/data", rule: "a test says so", writable: true });
const load = (env: Environment = {}) => loadConfig(env, dataDir);
const configOf = (env: Environment) => load(env).config;

function problemsOf(env: Environment): readonly string[] {
  try {
    load(env);
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
}

test("nothing set gives the defaults of the contract", (t) => {
  const { config, warnings } = load();
  t.deepEqual(warnings, []);
  t.like(config, {
    modelPath: undefined,
    modelsDir: "/the/data/models",
    modelAlias: "tiny-chat",
    ctx: undefined,
    maxConcurrentRequests: 4,
    gpu: "auto",
    ngl: 99,
    batch: 2048,
    ubatch: 512,
    seed: -1,
    defaultMinP: 0.05,
    host: "0.0.0.0",
    port: 8000,
    portHealth: 8001,
    authEnabled: true,
    authKeysFile: "/the/data/api_keys.txt",
    logDir: "/the/data/logs",
    drainTimeout: 30,
    livenessStallSeconds: 30,
    corsOrigins: [],
    redisUrl: undefined,
  });
});

test("every default is a value one could set", (t) => {
  const defaults = Object.entries(table).flatMap(([name, entry]) =>
    "default" in entry && entry.default !== "" ? [[name, entry.default]] : [],
  );
  t.deepEqual({ ...configOf(Object.fromEntries(defaults)) }, { ...configOf({}) });
});

for (const [words, value] of [
  [["true", "1", "yes", "on", "TRUE", "Yes", " on "], true],
  [["false", "0", "no", "off", "FALSE", "No", " off "], false],
] as const) {
  test(`${words.join("|")} reads as ${value}`, (t) => {
    for (const word of words) t.is(configOf({ MODEL_STRICT: word }).modelStrict, value);
  });
}

test("anything else is no boolean", (t) => {
  for (const word of ["maybe", "y", "2", "truee"]) {
    t.deepEqual(problemsOf({ MODEL_STRICT: word }), [
      `MODEL_STRICT: "${word}" is not allowed; expected true, 1, yes or on; false, 0, no or off`,
    ]);
  }
});

/** Name, smallest and largest value allowed, and how far outside the nearest refused ones are; as in the contract. */
const ranges: ReadonlyArray<readonly [name: string, min: number, max: number, step?: number]> = [
  ["CTX", 128, 1048576],
  ["MAX_CONCURRENT_REQUESTS", 1, 256],
  ["NGL", 0, 10000],
  ["THREADS", 0, 1024],
  ["BATCH", 32, 65536],
  ["ITL_TARGET_MS", 1, 10000],
  ["SEED", -1, 4294967295],
  ["DEFAULT_TEMPERATURE", 0, 2, 0.001],
  ["DEFAULT_TOP_P", 0, 1, 0.001],
  ["DEFAULT_TOP_K", -1, 1000000],
  ["DEFAULT_MIN_P", 0, 1, 0.001],
  ["DEFAULT_REPEAT_PENALTY", 0.01, 10, 0.001],
  ["DEFAULT_MAX_TOKENS", -1, 1048576],
  ["MAX_OUTPUT_TOKENS", 0, 1048576],
  ["PORT", 1, 65535],
  ["PORT_HEALTH", 1, 65535],
  ["MAX_REQUEST_BODY_SIZE", 1024, Number.MAX_SAFE_INTEGER, 1],
  ["MAX_HEADERS", 8, 1000],
  ["MAX_HEADER_LINE_SIZE", 256, 65536],
  ["MAX_REQUEST_LINE_SIZE", 256, 65536],
  ["CLIENT_HEADER_TIMEOUT", 0.001, 2147483, 0.001],
  ["MAX_QUEUE_SIZE", 0, 100000],
  ["MAX_REQUESTS_PER_MINUTE", 1, Number.MAX_SAFE_INTEGER],
  ["MAX_TOKENS_PER_MINUTE", 0, Number.MAX_SAFE_INTEGER],
  ["LOG_MAX_BYTES", 0, Number.MAX_SAFE_INTEGER],
  ["LOG_MAX_FILES", 1, 1000],
  ["DRAIN_TIMEOUT", 0, 2147483, 0.001],
  ["IDLE_EXIT_SECONDS", 0, 2147483, 0.001],
  ["LIVENESS_STALL_SECONDS", 5, 2147483, 0.001],
];
for (const [name, min, max, step = 1] of ranges) {
  test(`${name} takes ${min} and ${max} and nothing beyond`, (t) => {
    for (const value of [min, max]) t.is(configOf({ [name]: String(value) })[propertyName(name)], value);
    for (const value of [min - step, max + step]) {
      const [problem = "none"] = problemsOf({ [name]: String(value) });
      t.true(problem.startsWith(`${name}: "${value}" is not allowed; expected `), problem);
    }
  });
}

test("numbers are plain decimal digits", (t) => {
  for (const text of ["1_000", "1,000", "0x400", "1e3", "4096.5", "+4096", "4096 tokens", "٣٠٠٠"]) {
    t.is(problemsOf({ CTX: text }).length, 1, text);
  }
  t.is(configOf({ NGL: "auto" }).ngl, "auto");
  t.is(configOf({ DRAIN_TIMEOUT: "2.5" }).drainTimeout, 2.5);
});

test("words are taken from their list only", (t) => {
  t.is(configOf({ GPU: "vulkan" }).gpu, "vulkan");
  t.deepEqual(problemsOf({ GPU: "rocm" }), ['GPU: "rocm" is not allowed; expected auto, cuda, vulkan, cpu']);
});

test("lists are split at commas and trimmed", (t) => {
  t.deepEqual(configOf({ ADMIN_KEY_IDS: " ann, bob,,carl " }).adminKeyIds, ["ann", "bob", "carl"]);
});

test("a LoRA path may carry a scale, and an = of its own", (t) => {
  t.deepEqual(configOf({ LORA_PATHS: "/a.gguf, /b.gguf=0.5, /run=5/c.gguf" }).loraPaths, [
    { path: "/a.gguf", scale: 1 },
    { path: "/b.gguf", scale: 0.5 },
    { path: "/run=5/c.gguf", scale: 1 },
  ]);
  t.is(problemsOf({ LORA_PATHS: "/a.gguf=11" }).length, 1);
});

test("HOST is an address or a host name", (t) => {
  for (const host of ["127.0.0.1", "::", "::1", "localhost", "my-host.example"])
    t.is(configOf({ HOST: host }).host, host);
  for (const host of ["http://x", "1.2.3.4:80", "1.2.3", "-x", "a b"]) t.is(problemsOf({ HOST: host }).length, 1, host);
});

test("MODEL_NAME stays under MODELS_DIR", (t) => {
  for (const name of ["a.gguf", "sub/a.gguf", "..a.gguf"]) t.is(configOf({ MODEL_NAME: name }).modelName, name);
  for (const name of ["../secret.gguf", "/a.gguf", "a/../../b.gguf", "..", "a\0b"]) {
    t.is(problemsOf({ MODEL_NAME: name }).length, 1, name);
  }
});

test("paths are absolute, whatever the operator wrote", (t) => {
  t.is(configOf({ MODEL_PATH: "x/y.gguf" }).modelPath, resolve("x/y.gguf"));
});

test("MODEL_ALIAS follows the file's name", (t) => {
  t.is(configOf({ MODEL_PATH: "/m/Foo-7B.Q4_K_M.gguf" }).modelAlias, "Foo-7B.Q4_K_M");
  t.is(configOf({ MODEL_NAME: "sub/big-00002-of-00003.gguf" }).modelAlias, "big");
  t.is(configOf({ MODEL_PATH: "/m/a.gguf", MODEL_NAME: "b.gguf" }).modelAlias, "a");
  t.is(configOf({ MODEL_PATH: `/m/${"x".repeat(200)}.gguf` }).modelAlias, "x".repeat(128));
  t.is(configOf({ MODEL_PATH: "/m/a.gguf", MODEL_ALIAS: "My model, é" }).modelAlias, "My model, é");
  t.is(configOf({ MOCK_BACKEND: "true" }).modelAlias, "mock");
  for (const alias of ["a\nb", "x".repeat(129)]) t.is(problemsOf({ MODEL_ALIAS: alias }).length, 1);
});

test("an empty or blank value is the default", (t) => {
  t.deepEqual({ ...configOf({ PORT: "", HOST: "  ", MODEL_PATH: "", BACKEND_HOST: "" }) }, { ...configOf({}) });
});

test("all problems are in one report", (t) => {
  const problems = problemsOf({ AUTH_ENABLED: "maybe", PORT: "80a", CTX: "1_000", EXTRA_ARGS: "--host 1.2.3.4" });
  t.deepEqual(problems.map((problem) => problem.split(":")[0]).sort(), ["AUTH_ENABLED", "CTX", "EXTRA_ARGS", "PORT"]);
  const error = t.throws(() => load({ PORT: "0", CTX: "1" }), { instanceOf: ConfigError });
  t.is(error?.exitCode, 2);
  t.regex(error?.message ?? "", /^2 configuration problems:\n {2}- .*\n {2}- .*$/);
});

test("values that contradict each other are problems", (t) => {
  t.regex(problemsOf({ PORT: "9000", PORT_HEALTH: "9000" })[0]!, /^PORT and PORT_HEALTH: both are 9000/);
  t.regex(problemsOf({ PORT: "8001" })[0]!, /must differ/);
  t.regex(problemsOf({ BATCH: "256", UBATCH: "512" })[0]!, /^UBATCH: 512 is larger than BATCH, 256/);
  t.regex(problemsOf({ KV_TYPE_V: "q8_0", FLASH_ATTN: "off" })[0]!, /^KV_TYPE_V: q8_0 needs flash attention/);
  t.deepEqual(problemsOf({ KV_TYPE_K: "q8_0", FLASH_ATTN: "off" }), []);
  t.regex(problemsOf({ AUTH_ENABLED: "no", METRICS_AUTH_ENABLED: "yes" })[0]!, /^METRICS_AUTH_ENABLED: /);
});

test("a smaller BATCH alone takes UBATCH along", (t) => {
  t.is(configOf({ BATCH: "256" }).ubatch, 256);
  t.is(configOf({ BATCH: "4096" }).ubatch, 512);
});

test("a secret is in no problem and not in the printed configuration", (t) => {
  t.deepEqual(problemsOf({ REDIS_URL: "http://user:hunter2@host" }), [
    "REDIS_URL: the value is not allowed; expected redis://… or rediss://…",
  ]);
  const described = describeConfig(configOf({ REDIS_URL: "rediss://user:hunter2@host:6379/0" }));
  t.is(described.REDIS_URL, "***");
  t.false(JSON.stringify(described).includes("hunter2"));
});

test("the printed configuration has every variable that has a value, under its own name", (t) => {
  const described = describeConfig(configOf({ MODEL_PATH: "/m.gguf" }));
  t.like(described, { MODEL_PATH: "/m.gguf", PORT: "8000", UBATCH: "512" });
  t.false("MODEL_NAME" in described);
});

test("control characters of a wrong value are escaped", (t) => {
  t.regex(problemsOf({ GPU: "a\nb\u001b[31m" })[0]!, /^GPU: "a\\nb\\u001b\[31m" is not allowed/);
});

test("each obsolete variable warns once, whatever its value", (t) => {
  const names = Object.entries(table).flatMap(([name, entry]) => ("obsolete" in entry ? [name] : []));
  t.is(names.length, 7);
  const { warnings, config } = load(
    Object.fromEntries(names.map((name) => [name, name === "GATEWAY_PORT" ? "9000" : "abc"])),
  );
  t.deepEqual(warnings.map((warning) => warning.split(" ")[0]).sort(), [...names].sort());
  t.is(config.port, 9000);
  t.false(warnings.join().includes("abc"));
});

test("GATEWAY_PORT counts only without PORT", (t) => {
  t.is(configOf({ GATEWAY_PORT: "9000", PORT: "9100" }).port, 9100);
  t.deepEqual(problemsOf({ GATEWAY_PORT: "abc", PORT: "9100" }), []);
  t.regex(problemsOf({ GATEWAY_PORT: "abc" })[0]!, /^GATEWAY_PORT: "abc"/);
});

test("a flag of EXTRA_ARGS beats its variable, with a warning, and follows its rules", (t) => {
  const { config, warnings, sources } = load({ EXTRA_ARGS: "-c 8192 -np 8", CTX: "4096" });
  t.like(config, { ctx: 8192, maxConcurrentRequests: 8 });
  t.deepEqual(warnings, ["CTX is set, but -c in EXTRA_ARGS wins"]);
  t.like(sources, { CTX: "EXTRA_ARGS -c (CTX)", PORT: "default", EXTRA_ARGS: "EXTRA_ARGS" });
  t.regex(problemsOf({ EXTRA_ARGS: "-c 12" })[0]!, /^EXTRA_ARGS -c \(CTX\): "12" is not allowed/);
});

test("names that become parts of file names are made safe", (t) => {
  t.is(configOf({ LOG_NAME: "../../etc/x y" }).logName, "___.._etc_x_y");
  t.is(configOf({ LOG_NAME: "mine", WORKER_TYPE: "a/b.c" }).logName, "llama-a_b_c");
  t.is(configOf({ INSTANCE_ID: "..pod/1" }).instanceId, "__pod_1");
  t.is(configOf({ HOSTNAME: "pod-7" }).instanceId, "pod-7");
  t.not(configOf({}).instanceId, "");
});

test("LOG_PROMPTS warns that it shows what callers write, and when no line of it would come", (t) => {
  const [warning, ...more] = load({ LOG_PROMPTS: "true" }).warnings;
  t.regex(warning!, /^LOG_PROMPTS=true: prompts and answers of all callers are written to the server log$/);
  t.deepEqual(more, []);
  t.regex(load({ LOG_PROMPTS: "yes", LOG_LEVEL: "warn" }).warnings[0]!, /it needs LOG_LEVEL=info or debug$/);
  t.deepEqual(load({ LOG_PROMPTS: "false" }).warnings, []);
});

test("the result is frozen", (t) => {
  const config = configOf({ LORA_PATHS: "/a.gguf" });
  t.true(Object.isFrozen(config) && Object.isFrozen(config.loraPaths) && Object.isFrozen(config.loraPaths?.[0]));
});

test(".env fills what the environment does not name; a name that is there wins, even when empty", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "dotenv-"));
  t.teardown(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, ".env"), "CTX=1024\nBATCH=64\nTHREADS=3\n");
  const code = `import { loadConfig, readEnvironment } from ${JSON.stringify(new URL("../src/config.js", import.meta.url).href)};
    const { ctx, batch, threads } = loadConfig(readEnvironment()).config;
    console.log(JSON.stringify({ ctx, batch, threads }));`;
  const child = startNode(t, ["--input-type=module", "-e", code], { cwd: folder, env: { BATCH: "128", THREADS: "" } });
  t.deepEqual(await child.ended, { code: 0, signal: null });
  t.deepEqual(JSON.parse(child.output), { ctx: 1024, batch: 128, threads: 0 });
});
