// The first request of an engine is its own: what it asks for, and what it makes of refusals.
import test from "ava";
import type { ChatPrompt, Engine, GenerationEvent, GenerationRequest } from "../../src/engine/engine.ts";
import { warmUp } from "../../src/engine/warm-up.ts";
import { Failure } from "../../src/errors.ts";
import { capturedLog } from "../helpers/captured-log.ts";

/** @param prefillMs of the whole prompt */
async function warm(prefillMs: number, renderChat: () => void = () => {}) {
  const { log, lines } = capturedLog();
  const asked: { chats: ChatPrompt[]; requests: GenerationRequest[] } = { chats: [], requests: [] };
  const engine = {
    renderChat: async (prompt: ChatPrompt) => {
      asked.chats.push(prompt);
      renderChat();
    },
    async *generate(request: GenerationRequest) {
      asked.requests.push(request);
      yield { type: "finish", timings: { prefillMs } } as GenerationEvent;
    },
  } as unknown as Engine;
  const config = { batch: 512, livenessStallSeconds: 30 };
  await warmUp(engine, {
    config: config as Parameters<typeof warmUp>[1]["config"],
    log,
    signal: new AbortController().signal,
  });
  return { asked, lines };
}

test("a chat is rendered and a few tokens are generated, which nobody may reuse", async (t) => {
  const { asked, lines } = await warm(1);
  t.is(asked.chats.length, 1);
  t.deepEqual(
    asked.requests.map(({ maxTokens, cacheScope }) => [maxTokens, cacheScope]),
    [[2, null]],
  );
  t.deepEqual(lines(), []);
});

test("a batch that would hold up the liveness probe is warned of", async (t) => {
  const { lines } = await warm(16 * 40);
  t.is(lines().length, 1);
  t.regex(JSON.stringify(lines()), /LIVENESS_STALL_SECONDS/);
});

test("a template that refuses the chat is no failure of the start, anything else is", async (t) => {
  const refuse = (error: Error) => () => {
    throw error;
  };
  const { asked } = await warm(1, refuse(new Failure("chat_template_error", "only system messages")));
  t.is(asked.requests.length, 1);
  const lost = new Error("the model is gone");
  await t.throwsAsync(warm(1, refuse(lost)), { is: lost });
});
