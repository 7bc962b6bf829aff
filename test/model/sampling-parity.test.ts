// The same tokens as llama-server's for the same seed and settings: recorded by record-samples.ts on tiny-chat.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import { resolveBias } from "../../src/api/generate.ts";
import type { SampledLogprob } from "../../src/engine/engine.ts";
import { installedVersions } from "../../src/engine/load-addon.ts";
import { packageRoot } from "../../src/paths.ts";
import { completion } from "../helpers/parsing.ts";
import { request } from "../helpers/requests.ts";
import {
  chatCases,
  maxTokens,
  type RecordedChat,
  type RecordedSample,
  samplingCases,
} from "../helpers/sampling-cases.ts";
import { jsonOf } from "../helpers/server.ts";
import { shareTinyApi } from "../helpers/tiny-api.ts";

type Recorded = { llamaCpp: string; samples: RecordedSample[]; chats: RecordedChat[] };
const file = join(packageRoot, "test", "model", "recorded-samples.json");
const recorded: Recorded = JSON.parse(readFileSync(file, "utf8"));

/** Of a log-probability: what another CPU's rounding may change beyond how far the recorded servers are apart. */
const tolerance = 0.05;

const api = shareTinyApi(test);

async function sample(
  { n_probs, ...fields }: Record<string, unknown>,
  text: string,
  seed: number,
): Promise<SampledLogprob[]> {
  const { engine } = api;
  const { settings } = completion({ ...fields, seed });
  const sampling = { ...settings.sampling, logitBias: await resolveBias(engine, settings) };
  const { grammar } = settings;
  const logprobs = typeof n_probs === "number" ? n_probs : 0;
  const sampler = grammar === undefined ? undefined : await engine.prepareSampler(sampling, { grammar });
  const prompt = await engine.tokenize(text, true, true);
  const tokens: SampledLogprob[] = [];
  for await (const event of engine.generate(
    request(prompt, { sampling, maxTokens, logprobs, cacheScope: null, ...(sampler && { sampler }) }),
  )) {
    if (event.type === "delta") tokens.push(...(event.logprobs ?? []));
  }
  return tokens;
}

test("the samples are of the installed llama.cpp and of every case", (t) => {
  t.is(recorded.llamaCpp, installedVersions().llamaCpp, "record them anew: record-samples.ts says how");
  t.deepEqual(
    recorded.samples.map(({ name }) => name),
    samplingCases.map(({ name }) => name),
  );
  t.deepEqual(
    recorded.chats.map(({ name }) => name),
    chatCases.map(({ name }) => name),
  );
});

// One at a time, as the servers were asked: beside others a prompt is read in other chunks, whose rounding may turn a near tie.
for (const { name, seed, tokens, logprobs, spread = 0 } of recorded.samples) {
  test.serial(`llama-server's tokens: ${name}`, async (t) => {
    const { prompt, fields } = samplingCases.find((one) => one.name === name)!;
    const own = await sample(fields, prompt, seed);
    const end = new Set(api.engine.model.endTokens);
    t.deepEqual(
      own.map(({ token }) => token),
      tokens.filter((token) => !end.has(token)),
    );
    for (const [i, row] of (logprobs ?? []).slice(0, own.length).entries()) {
      const ownRow = [own[i]!, ...own[i]!.top];
      for (const [token, logprob] of row) {
        const same = ownRow.find((entry) => entry.token === token);
        t.true(same && Math.abs(same.logprob - logprob) < spread + tolerance, `${token}: ${same?.logprob}, ${logprob}`);
      }
      const top = own[i]!.top.map((entry) => entry.logprob);
      t.deepEqual(
        top,
        top.toSorted((a, b) => b - a),
      );
    }
  });
}

for (const { name, seed, message } of recorded.chats) {
  test.serial(`llama-server's answer: ${name}`, async (t) => {
    const { fields } = chatCases.find((one) => one.name === name)!;
    const answer = await jsonOf(await api.post("/v1/chat/completions", { ...fields, seed, cache_prompt: false }));
    const { content, reasoning_content, tool_calls } = answer.choices[0].message;
    const calls = tool_calls?.map((call: { function: object }) => call.function);
    // llama-server cuts white space at the end, and has empty text beside calls where OpenAI has null.
    const own = {
      content: content?.trim() ?? "",
      ...(reasoning_content && { reasoning_content }),
      ...(calls && { calls }),
    };
    t.deepEqual(own, { ...message, content: message.content?.trim() ?? "" });
  });
}
