// A process with a health thread whose main thread can be blocked: told `block <file>`, it spins until that file exists.
import { existsSync, writeSync } from "node:fs";
import { createInterface } from "node:readline";
import { Heartbeat } from "../../src/health/heartbeat.ts";
import { startHealth } from "../../src/health/start.ts";
import { silentLog } from "../../src/telemetry/log.ts";

const livenessStallSeconds = Number(process.argv[2]);
const heartbeat = new Heartbeat();
setInterval(() => heartbeat.beat(), 100);
const health = await startHealth({ host: "127.0.0.1", port: 0, heartbeat, livenessStallSeconds, log: silentLog() });
createInterface(process.stdin).on("line", (line) => {
  const file = line.replace(/^block /, "");
  // Not console: its lines leave only when the main thread is free again.
  writeSync(1, "blocked\n");
  while (!existsSync(file));
});
writeSync(1, `port ${health.port}\n`);
