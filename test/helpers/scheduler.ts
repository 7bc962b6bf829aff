// A scheduler over a context whose steps the test ends by hand.
import { plainMemory } from "../../src/engine/cuts.ts";
import { Scheduler, type SchedulerOptions } from "../../src/engine/scheduler.ts";
import { TokenPieces } from "../../src/engine/text-stream.ts";
import { Heartbeat } from "../../src/health/heartbeat.ts";
import { silentLog } from "../../src/telemetry/log.ts";
import { FakeContext } from "./fake-context.ts";

export const endToken = 999;

/** Token i is the text `<i>`. */
export function vocabulary() {
  const texts = Array.from({ length: 1000 }, (_, i) => Buffer.from(`<${i}>`));
  const offsets = new Uint32Array(texts.length + 1);
  texts.forEach((text, i) => {
    offsets[i + 1] = offsets[i]! + text.length;
  });
  const pieces = new TokenPieces({ bytes: Buffer.concat(texts), offsets });
  return { pieces, specialPieces: pieces, endTokens: new Set([endToken]) };
}

export function setUpScheduler(sequences = 4, overrides: Partial<SchedulerOptions> = {}, batchTokens = 64) {
  const context = new FakeContext(sequences, batchTokens);
  const heartbeat = new Heartbeat();
  const lost: Error[] = [];
  const scheduler = new Scheduler({
    context,
    sequences,
    contextTokens: 1024,
    vocabulary: vocabulary(),
    itlTargetMs: 50,
    prefixCache: false,
    memory: plainMemory,
    checkpointBytes: 1000,
    gap: 3,
    passTokens: 0,
    streams: true,
    heartbeat,
    log: silentLog(),
    onLost: (error) => lost.push(error),
    ...overrides,
  });
  return { context, lost, scheduler };
}

/** Lets one step end and waits until the next has begun. */
export async function stepOn(context: FakeContext): Promise<void> {
  context.finishStep();
  await context.stepStarted();
}

/** Token i is at position i - 1. */
export const prompt = (length: number) => Array.from({ length }, (_, i) => i + 1);
