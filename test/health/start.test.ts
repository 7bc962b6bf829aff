// The health thread's life: a port that is taken, a thread that dies, and its end.
import { type AddressInfo, createServer } from "node:net";
import test from "ava";
import { pino } from "pino";
import { Heartbeat } from "../../src/health/heartbeat.ts";
import { startHealth } from "../../src/health/start.ts";
import { silentLog } from "../../src/telemetry/log.ts";
import { ask, until } from "../helpers/process.ts";

const options = { host: "127.0.0.1", port: 0, livenessStallSeconds: 30, log: silentLog() };

test("a busy port is an error that names PORT_HEALTH and what to do", async (t) => {
  const taken = createServer();
  await new Promise<void>((done) => taken.listen(0, "127.0.0.1", done));
  t.teardown(() => taken.close());
  const { port } = taken.address() as AddressInfo;
  const error = await t.throwsAsync(startHealth({ ...options, port, heartbeat: new Heartbeat() }));
  t.regex(error.message, new RegExp(`PORT_HEALTH=${port} .*already in use`));
});

test("an address that is not this machine's is an error that names HOST", async (t) => {
  const error = await t.throwsAsync(startHealth({ ...options, host: "192.0.2.1", heartbeat: new Heartbeat() }));
  t.regex(error.message, /HOST=192\.0\.2\.1/);
});

test("a thread that dies is started again on the same port, and both are logged", async (t) => {
  const lines: Record<string, unknown>[] = [];
  const log = pino({ level: "debug" }, { write: (line: string) => lines.push(JSON.parse(line)) });
  const heartbeat = new Heartbeat();
  const health = await startHealth({ ...options, heartbeat, log, firstPauseMs: 10 });
  t.teardown(() => health.stop());
  const { port } = health;
  const pauses = () => lines.flatMap((line) => (line.pauseMs === undefined ? [] : [line.pauseMs]));
  const returns = () => lines.filter((line) => /answers again/.test(String(line.msg))).length;
  for (const times of [1, 2, 3]) {
    await health.worker?.terminate();
    await until(() => returns() === times);
    t.is(health.port, port);
    t.is((await ask(port, "/livez")).status, 200);
  }
  t.deepEqual(pauses(), [10, 20, 40], "pauses grow");
});

test("a stopped thread gives its port back and is not started again", async (t) => {
  const health = await startHealth({ ...options, heartbeat: new Heartbeat(), firstPauseMs: 1 });
  await health.stop();
  await t.throwsAsync(ask(health.port, "/livez"), { code: "ECONNREFUSED" });
});
