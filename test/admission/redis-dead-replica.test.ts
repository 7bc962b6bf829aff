// In a file of its own: it moves the time of day of its whole process, by which bottleneck lets jobs expire in Redis.
import { BottleneckStore } from "../../src/admission/quota-store.ts";
import { connectRedis } from "../../src/admission/redis.ts";
import { silentLog } from "../../src/telemetry/log.ts";
import { limits } from "../helpers/admission.ts";
import { until } from "../helpers/process.ts";
import { hasRedisServer, noRedisServer, startRedis } from "../helpers/redis-server.ts";
import { testIf } from "../helpers/skip.ts";

testIf(hasRedisServer, noRedisServer, "what a replica held that died comes back by itself", async (t) => {
  const { url } = await startRedis(t);
  const connect = () => connectRedis(url, silentLog(), () => import("ioredis"), 60_000);
  const links = await Promise.all([connect(), connect()]);
  const [dead, alive] = links.map((redis) => new BottleneckStore({ redis, log: silentLog() }));
  await until(() => links.every((link) => link.up));
  const claim = { kind: "concurrency", keyId: "key", weight: 3, limits: limits(100, 0, 3) } as const;
  t.like(await dead!.take(claim), { total: 3 });
  await links[0]!.close();
  t.deepEqual(await alive!.take(claim), { total: 3 });
  const real = Date.now;
  t.teardown(async () => {
    Date.now = real;
    await Promise.all([dead!.close(), alive!.close()]);
  });
  Date.now = () => real() + 66_000;
  t.like(await alive!.take(claim), { total: 3 });
});
