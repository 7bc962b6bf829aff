// The process: what happens in which order from the start to the exit code (CONTRACT.md sections 1 and 10).
import { join } from "node:path";
import { connectRedis } from "./admission/redis.ts";
import { warmUp } from "./api/warm-up.ts";
import { build } from "./build.ts";
import { type DataDir, prepareDataDir } from "./config/data-dir.ts";
import {
  type Config,
  ConfigError,
  describeConfig,
  type Environment,
  type LoadedConfig,
  loadConfig,
  setCudaCachePath,
} from "./config.ts";
import { debugShell } from "./debug-shell.ts";
import { checkAdapters } from "./engine/adapter-file.ts";
import { createMockEngine } from "./engine/mock-engine.ts";
import { checkDraftModel, checkModel, checkVectorModels, ModelFileError } from "./engine/model-file.ts";
import { watchHangup } from "./hangup.ts";
import { ListenError } from "./health/start.ts";
import { loadKeyRing } from "./keys/load.ts";
import { type LoadEngine, Server } from "./server.ts";
import { Stop, watchSignals } from "./stop.ts";
import { AccessFile } from "./telemetry/access-file.ts";
import { createLog, type Log, type Logger } from "./telemetry/log.ts";

/**
 * Serves until the process is told to end, then ends it with the exit code of CONTRACT.md section 1.
 * @param env the environment, `.env` included
 * @param loadEngine for tests; by default MOCK_BACKEND and the model file decide
 * @throws ConfigError with every problem, before anything is opened
 */
export async function runServer(env: Environment, loadEngine?: LoadEngine): Promise<never> {
  const stop = new Stop();
  watchSignals(stop);
  const loaded = loadConfig(env);
  const dataDir = prepareDataDir(loaded.dataDir);
  const log = createLog(loaded.config);
  endOnCrash(log.logger);
  announce(loaded, dataDir, log.logger);
  const exitCode = loaded.config.debugShell
    ? await debugShell(env, loaded.config, log.logger, stop)
    : await run({ config: loaded.config, log, stop, loadEngine });
  log.close();
  process.exit(exitCode);
}

type Start = {
  readonly config: Config;
  readonly log: Log;
  readonly stop: Stop;
  readonly loadEngine: LoadEngine | undefined;
};

/** From the model file on. @returns the exit code */
async function run({ config, log, stop, loadEngine }: Start): Promise<number> {
  let server: Server | undefined;
  try {
    const load = loadEngine ?? chooseEngine(config, log.logger);
    const keys = loadKeyRing(config, log.logger);
    const redis = config.redisUrl === undefined ? undefined : await connectRedis(config.redisUrl, log.logger);
    const accessLog = new AccessFile(config, log.logger);
    watchHangup(log.logger, keys, [log, accessLog]);
    const onEnd = (reason: string) => stop.request(reason);
    server = new Server({ config, log: log.logger, keys, accessLog, redis, loadEngine: load, onEnd });
    await server.open();
    await Promise.all([server.load(stop.signal), warmUp(config)]);
  } catch (error) {
    await server?.close();
    if (stop.reason === undefined || server?.lost) return reportFailedStart(error, log.logger);
    log.logger.info(`stopped while loading: ${stop.reason}`);
    return 0;
  }
  log.endBoot();
  return untilStopped(server, log.logger, stop);
}

async function untilStopped(server: Server, log: Logger, stop: Stop): Promise<number> {
  await stop.requested();
  log.info(`stopping: ${stop.reason}`);
  if (server.lost) await server.abort();
  else await server.drain();
  await server.close();
  log.info("stopped");
  return server.lost ? 1 : 0;
}

/** @returns the exit code: 2 for a configuration or a model file that cannot be used, else 1 */
function reportFailedStart(error: unknown, log: Logger): number {
  if (error instanceof ModelFileError) {
    for (const line of error.message.split("\n")) log.error(line);
    return 2;
  }
  if (error instanceof ConfigError) {
    for (const line of error.message.split("\n")) log.error(line);
    return error.exitCode;
  }
  if (error instanceof ListenError) log.error(error.message);
  else log.error({ err: error }, "the server could not start");
  return 1;
}

/** What nobody caught leaves the program in an unknown state; the container platform starts it again. */
function endOnCrash(log: Logger): void {
  process.on("uncaughtException", (error, origin) => {
    log.error({ err: error, origin }, "a fault of the program; the process ends");
    process.exit(1);
  });
}

function announce({ config, warnings }: LoadedConfig, dataDir: DataDir, log: Logger): void {
  log.info({ version: build.version, node: process.version }, "llama-gguf-inference starts");
  log.info(describeConfig(config), "configuration");
  for (const warning of warnings) log.warn(warning);
  log.info({ DATA_DIR: dataDir.path }, `data directory chosen: ${dataDir.rule}`);
  if (dataDir.writable) setCudaCachePath(join(dataDir.path, "cache", "cuda"));
  else log.warn({ DATA_DIR: dataDir.path }, "the data directory cannot be written to");
}

/** Checks the model file now, so that a bad one ends the start before a port is open. @throws ModelFileError */
function chooseEngine(config: Config, log: Logger): LoadEngine {
  if (config.mockBackend) {
    const { modelAlias: name, ctx: contextTokens, maxConcurrentRequests } = config;
    return async ({ heartbeat }) => createMockEngine({ name, contextTokens, maxConcurrentRequests, heartbeat });
  }
  const { path: modelPath, architecture, demo } = checkModel(config);
  checkAdapters(config.loraPaths ?? [], architecture);
  const vectorModels = checkVectorModels(config);
  const draftModelPath = checkDraftModel(config);
  if (demo) noticeDemo(log);
  return async (context) => {
    // Loaded only now: signals are handled and both ports open before llama.cpp's libraries come in.
    const { loadLlamaEngine } = await import("./engine/llama-engine.ts");
    return loadLlamaEngine({ ...context, modelPath, vectorModels, draftModelPath });
  };
}

function noticeDemo(log: Logger): void {
  const lines = [
    "DEMO: no model is configured, so a tiny demo model is served. It is good for trying the API and for nothing else.",
    "To serve a real model:  MODEL_PATH=/path/to/model.gguf npm start",
  ];
  for (const line of ["=".repeat(100), ...lines, "=".repeat(100)]) log.warn(line);
}
