// The server as a process of its own, with an engine that does what the first argument says. The second names a file: what waits,
// waits until it exists.
import { existsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { readEnvironment } from "../src/config.ts";
import { createMockEngine, type MockStep } from "../src/engine/mock-engine.ts";
import { runServer } from "../src/main.ts";
import type { LoadEngine } from "../src/server.ts";

const [mode, file] = process.argv.slice(2) as [string, string];

async function fileExists(): Promise<void> {
  while (!existsSync(file)) await sleep(10);
}

function* gatedAnswer(): Iterable<MockStep> {
  yield { text: "before" };
  yield { wait: fileExists() };
  yield { text: " and" };
  yield { text: " after" };
}

const loads: Record<string, LoadEngine> = {
  /** Every answer stops after its first token until the file exists. */
  gated: async ({ heartbeat }) => createMockEngine({ heartbeat, script: gatedAnswer }),
  /** Loads half, then waits for the file. */
  slow: async ({ heartbeat, onProgress, signal }) => {
    onProgress(0.5);
    const aborted = new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    await Promise.race([fileExists(), aborted]);
    return createMockEngine({ heartbeat });
  },
  /** Never loads, whatever the signal says. */
  deaf: () => new Promise(() => {}),
  broken: async () => {
    throw new Error("the weights do not fit");
  },
  /** The first request that runs loses the engine. */
  losing: async ({ heartbeat, onLost }) => {
    function* lose(): Iterable<MockStep> {
      yield { text: "before" };
      onLost(new Error("three steps in a row failed"));
      yield { wait: fileExists() };
    }
    return createMockEngine({ heartbeat, script: lose });
  },
  /** A promise that nobody waits for fails once the server is ready. */
  crashing: async ({ heartbeat }) => {
    setTimeout(() => void Promise.reject(new Error("nobody caught this")), 0);
    return createMockEngine({ heartbeat });
  },
};

await runServer(readEnvironment(), loads[mode]);
