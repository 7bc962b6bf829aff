// Two servers behind one Redis, as clients meet them.
import { createAdmission } from "../../src/admission/create.ts";
import { connectRedis, type RedisLink } from "../../src/admission/redis.ts";
import { createMockEngine } from "../../src/engine/mock-engine.ts";
import { Heartbeat } from "../../src/health/heartbeat.ts";
import { silentLog } from "../../src/telemetry/log.ts";
import { until } from "../helpers/process.ts";
import { hasRedisServer, noRedisServer, startRedis } from "../helpers/redis-server.ts";
import { startServer, type TestServer, testConfig, testKey, testKeys, withKey } from "../helpers/server.ts";
import { testIf } from "../helpers/skip.ts";

type Replica = { readonly server: TestServer; readonly redis: RedisLink };

async function startReplica(url: string): Promise<Replica> {
  const [config, log, heartbeat] = [testConfig(), silentLog(), new Heartbeat()];
  heartbeat.state = "ready";
  const engine = createMockEngine();
  // A busy machine must not look like a Redis that is away.
  const redis = await connectRedis(url, log, () => import("ioredis"), 60_000);
  const { quota, close: closeQuota } = createAdmission({ config, log, heartbeat, places: () => 4, redis });
  const keys = testKeys(`test:${testKey}:10/0/3`);
  const server = await startServer({ config, log, heartbeat, keys, quota, engine: () => engine });
  const close = async () => {
    await server.close();
    await closeQuota();
  };
  return { server: { ...server, close }, redis };
}

testIf(hasRedisServer, noRedisServer, "two servers share one quota; without Redis each goes on alone", async (t) => {
  const redis = await startRedis(t);
  const replicas = [await startReplica(redis.url), await startReplica(redis.url)];
  t.teardown(() => Promise.all(replicas.map(({ server }) => server.close())));
  await until(() => replicas.every((replica) => replica.redis.up));
  const call = async (n: number) => {
    const answer = await fetch(`${replicas[n % 2]!.server.url}/v1/models`, { headers: withKey });
    await answer.text();
    return answer;
  };
  const lefts: (string | null)[] = [];
  for (let n = 0; n < 10; n++) lefts.push((await call(n)).headers.get("x-ratelimit-remaining-requests"));
  t.deepEqual(lefts, ["9", "8", "7", "6", "5", "4", "3", "2", "1", "0"]);
  for (const n of [0, 1]) {
    const refused = await call(n);
    t.is(refused.status, 429);
    t.true(Number(refused.headers.get("retry-after-ms")) <= 60_000);
  }
  await redis.stop();
  // Each has let in five itself, and has five left by its own count.
  const statuses: number[] = [];
  for (let n = 0; n < 12; n++) statuses.push((await call(n)).status);
  t.deepEqual(statuses, [...Array(10).fill(200), 429, 429]);
  t.false(replicas[0]!.redis.up);
  const metrics = (await (await fetch(`${replicas[0]!.server.url}/metrics`)).json()) as { engine: object };
  t.like(metrics.engine, { quota_store_up: 0 });
  await redis.start();
  await until(() => replicas.every((replica) => replica.redis.up));
});
