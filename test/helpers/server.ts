// Starts an application with the parts a test cares about, on a free port of 127.0.0.1, and closes it with all its connections.
import type { AddressInfo } from "node:net";
import { createAdmission } from "../../src/admission/create.ts";
import type { Parts } from "../../src/api/parts.ts";
import type { Route } from "../../src/api/routes.ts";
import { createApp } from "../../src/app.ts";
import { type Config, type Environment, loadConfig } from "../../src/config.ts";
import { Heartbeat } from "../../src/health/heartbeat.ts";
import { watchDoor } from "../../src/http/access-log.ts";
import { createHttpServer } from "../../src/http/client-error.ts";
import { parseKeyFile } from "../../src/keys/key-file.ts";
import { KeyRing, type Limits } from "../../src/keys/key-ring.ts";
import { noAccessLog } from "../../src/telemetry/access-file.ts";
import { silentLog } from "../../src/telemetry/log.ts";
import { Metrics } from "../../src/telemetry/metrics.ts";

export const testKey = "sk-test-key-0123456789";
export const withKey = { Authorization: `Bearer ${testKey}` };

export type TestServer = {
  /** Without a slash at its end. */
  readonly url: string;
  readonly port: number;
  readonly parts: Parts;
  readonly close: () => Promise<void>;
};

/** The configuration of an environment that has only these variables; looks at no real DATA_DIR. */
export function testConfig(env: Environment = {}): Config {
  return loadConfig(env, () => ({ path: "/nonexistent", rule: "a test", writable: false })).config;
}

const noLimits: Limits = { requestsPerMinute: 1_000_000, tokensPerMinute: 0, concurrentRequests: 0 };

/** The keys of a key file's lines. */
export function testKeys(text = `test:${testKey}`, now?: () => number): KeyRing {
  return new KeyRing(parseKeyFile(text).entries, noLimits, now && { now });
}

/**
 * @param given parts that matter to the test; by default one key (testKey), nothing logged, and no engine.
 * The state is ready when an engine is given, else loading; a heartbeat of the test's own is left as it is.
 * @param table routes instead of the real ones
 */
export async function startServer(given: Partial<Parts> = {}, table?: readonly Route[]): Promise<TestServer> {
  const heartbeat = given.heartbeat ?? new Heartbeat();
  if (!given.heartbeat && given.engine) heartbeat.state = "ready";
  const { config = testConfig(), log = silentLog(), engine = () => undefined } = given;
  const places = () => engine()?.maxConcurrentRequests ?? 0;
  const { quota, gate, close: closeAdmission } = createAdmission({ config, log, heartbeat, places });
  const parts: Parts = {
    config,
    log,
    quota,
    gate,
    metrics: new Metrics(),
    accessLog: noAccessLog,
    keys: testKeys(),
    engine,
    cut: new AbortController().signal,
    ...given,
    heartbeat,
  };
  const server = createHttpServer(createApp(parts, table).callback(), parts.config, parts.log, watchDoor(parts));
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const close = async () => {
    await new Promise<void>((resolve, reject) => {
      server.close((error) => (error ? reject(error) : resolve()));
      server.closeAllConnections();
    });
    await closeAdmission();
  };
  return { url: `http://127.0.0.1:${port}`, port, parts, close };
}

/** The JSON of an answer, which tests look into as they like. */
// biome-ignore lint/suspicious/noExplicitAny: a wrong guess fails the test that made it
export const jsonOf = (answer: Response): Promise<any> => answer.json();
