// Records what llama-server samples for the cases of helpers/sampling-cases.ts into recorded-samples.json, for
// sampling-parity.test.ts. Not a test: run it when the cases or llama.cpp change (ARCHITECTURE.md, "Recorded samples").
//
//   LLAMA_SERVER_BIN=/one/llama-server:/other/llama-server node dist/test/model/record-samples.js
//
// Several binaries with other CPU kernels beside them: of a case, the first seed is taken on which all of them agree, so that a
// choice on a knife's edge, which another CPU's rounding would turn, is not recorded.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { installedVersions } from "../../src/engine/load-addon.ts";
import { packageRoot } from "../../src/paths.ts";
import { LlamaServer } from "../helpers/llama-server.ts";
import {
  chatCases,
  maxTokens,
  type RecordedChat,
  type RecordedSample,
  samplingCases,
} from "../helpers/sampling-cases.ts";
import { tinyChatPath } from "../helpers/tiny-engine.ts";

/** Seeds tried for one case. */
const mostSeeds = 40;

type Completion = {
  tokens: number[];
  content: string;
  completion_probabilities?: { id: number; logprob: number; top_logprobs: { id: number; logprob: number }[] }[];
};

async function recordSample(server: LlamaServer, index: number, seed: number): Promise<RecordedSample> {
  const { name, prompt, fields } = samplingCases[index]!;
  const body = { ...fields, prompt, seed, n_predict: maxTokens, return_tokens: true, cache_prompt: false };
  const { tokens, content, completion_probabilities } = await server.post<Completion>("/completion", body);
  const round = (logprob: number) => Number(logprob.toFixed(3));
  const logprobs = completion_probabilities?.map((chosen) =>
    [chosen, ...chosen.top_logprobs].map(({ id, logprob }): [number, number] => [id, round(logprob)]),
  );
  return { name, seed, tokens, text: content, ...(logprobs?.length && { logprobs }) };
}

async function recordChat(server: LlamaServer, index: number, seed: number): Promise<RecordedChat> {
  const { name, fields } = chatCases[index]!;
  type Chat = { choices: { message: RecordedChat["message"] & { tool_calls?: { id?: string }[] } }[] };
  const answer = await server.post<Chat>("/v1/chat/completions", { ...fields, seed, cache_prompt: false });
  const { content, reasoning_content, tool_calls } = answer.choices[0]!.message;
  const calls = tool_calls?.map(
    (call) => (call as unknown as { function: { name: string; arguments: string } }).function,
  );
  return { name, seed, message: { content, ...(reasoning_content && { reasoning_content }), ...(calls && { calls }) } };
}

/** What all servers said who agree on the answer, for the first seed on which they do. */
async function agreeing<T>(
  name: string,
  servers: LlamaServer[],
  record: (server: LlamaServer, seed: number) => Promise<T>,
): Promise<T[]> {
  for (let seed = 1; seed <= mostSeeds; seed++) {
    const answers = await Promise.all(servers.map((server) => record(server, seed)));
    const texts = new Set(answers.map((answer) => withoutLogprobs(answer)));
    if (texts.size === 1) return answers;
  }
  throw new Error(`${name}: no seed up to ${mostSeeds} on which the servers agree`);
}

const withoutLogprobs = (answer: unknown) =>
  JSON.stringify(answer, (key, value) => (key === "logprobs" ? undefined : value));

/** The first one's log-probabilities, without tokens that are not among the most likely ones of all. */
function withSpread(answers: readonly RecordedSample[]): RecordedSample {
  const { logprobs: rows, ...sample } = answers[0]!;
  if (!rows) return sample;
  let spread = 0;
  const logprobs = rows.map((row, place) =>
    row.filter(([token, logprob]) => {
      const others = answers.map((answer) => answer.logprobs![place]!.find((entry) => entry[0] === token)?.[1]);
      if (others.includes(undefined)) return false;
      for (const other of others) spread = Math.max(spread, Math.abs(other! - logprob));
      return true;
    }),
  );
  return { ...sample, logprobs, spread: Number(spread.toFixed(3)) };
}

async function record(): Promise<void> {
  const binaries = process.env.LLAMA_SERVER_BIN?.split(":");
  if (!binaries) throw new Error("LLAMA_SERVER_BIN must name one or more llama-server binaries, separated by colons");
  const servers: LlamaServer[] = [];
  try {
    for (const binary of binaries) servers.push(await LlamaServer.start(binary, tinyChatPath));
    const samples: RecordedSample[] = [];
    for (const [index, { name }] of samplingCases.entries()) {
      samples.push(withSpread(await agreeing(name, servers, (server, seed) => recordSample(server, index, seed))));
    }
    const chats: RecordedChat[] = [];
    for (const [index, { name }] of chatCases.entries()) {
      const [chat] = await agreeing(name, servers, (server, seed) => recordChat(server, index, seed));
      chats.push(chat!);
    }
    const lines = (values: object[]) => `[\n${values.map((value) => JSON.stringify(value)).join(",\n")}\n]`;
    const text = `{"llamaCpp":${JSON.stringify(installedVersions().llamaCpp)},"samples":${lines(samples)},"chats":${lines(chats)}}\n`;
    writeFileSync(join(packageRoot, "test", "model", "recorded-samples.json"), text);
    console.log(`${samples.length} samples and ${chats.length} chats recorded`);
  } finally {
    for (const server of servers) await server.stop();
  }
}

await record();
