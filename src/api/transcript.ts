// LOG_PROMPTS: writes what a request asks the model and what the model answers into the server log, and nowhere else. Prompts are
// logged as the model reads them, when it begins; answers when they end, however they end, as far as they came.
import type { Engine, GenerationEvent, GenerationRequest } from "../engine/engine.ts";
import { ChoiceFold } from "../openai/answer.ts";
import type { Logger } from "../telemetry/log.ts";

type Generator = Pick<Engine, "generate">;

/** The same generations, written down. For one request: a prompt that several answers share is logged once. */
export function transcribe(engine: Pick<Engine, "generate" | "detokenize">, log: Logger): Generator {
  const logged = new Set<Int32Array>();
  return {
    generate: (request) => {
      const who = { requestId: request.caller?.requestId, keyId: request.caller?.keyId };
      if (!logged.has(request.prompt)) log.info({ ...who, prompt: textOf(engine, request) }, "LOG_PROMPTS: prompt");
      logged.add(request.prompt);
      return follow(engine.generate(request), (answer, finish) =>
        log.info({ ...who, answer, finish }, "LOG_PROMPTS: answer"),
      );
    },
  };
}

function textOf(engine: Pick<Engine, "detokenize">, { prompt }: GenerationRequest): string {
  return Buffer.from(engine.detokenize(prompt)).toString();
}

/** @param over gets the parts of the answer, and why it ended; null: its client left, or it failed */
async function* follow(
  events: AsyncIterable<GenerationEvent>,
  over: (answer: ChoiceFold["parts"], finish: string | null) => void,
): AsyncGenerator<GenerationEvent> {
  const fold = new ChoiceFold();
  let finish: string | null = null;
  try {
    for await (const event of events) {
      fold.add(event);
      if (event.type === "finish") finish = event.reason;
      yield event;
    }
  } finally {
    over(fold.parts, finish);
  }
}
