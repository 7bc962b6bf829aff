// `bench reader`: what taking an answer apart costs the main thread for each token, for long answers of several kinds, as tiny-chat
// writes them. The reader is the engine's own; nothing is generated.
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { loadConfig } from "../config.ts";
import type { AnswerReader, ChatPrompt, Engine } from "../engine/engine.ts";
import { loadLlamaEngine } from "../engine/llama-engine.ts";
import { Heartbeat } from "../health/heartbeat.ts";
import { packageRoot } from "../paths.ts";
import { silentLog } from "../telemetry/log.ts";

/** What the tokens of an answer are, and what comes before them. */
type Kind = { readonly begin: string; readonly piece: (index: number) => string; readonly enableThinking: boolean };

export type ReaderCost = {
  readonly kind: string;
  readonly tokens: number;
  /** Of the main thread, for each token, the end of the answer included. */
  readonly microseconds: number;
  /** The longest time for one token. */
  readonly longestMs: number;
};

const words = ["the", " cat", " sat", " on", " mat", ",", " and", " slept", " well", ".\n"];
const word = (index: number): string => words[index % words.length]!;

const call = '<tool_call>\n{"name": "write", "arguments": {';

/** Tokens of about four characters. */
export const answerKinds: Readonly<Record<string, Kind>> = {
  text: { begin: "", piece: word, enableThinking: false },
  reasoning: { begin: "", piece: word, enableThinking: true },
  "long string in a call": {
    begin: `${call}"text": "`,
    piece: (index) => word(index).replace("\n", "\\n"),
    enableThinking: false,
  },
  "many values in a call": {
    begin: `${call}"rows": [`,
    piece: (index) => (index % 2 === 0 ? '{"a"' : ": 1},"),
    enableThinking: false,
  },
};

const parameters = { type: "object", properties: { text: { type: "string" }, rows: { type: "array" } } };

export function promptOf({ enableThinking }: Kind): ChatPrompt {
  return {
    messages: [{ role: "user", content: "Write." }],
    tools: [{ name: "write", description: "Writes.", parameters }],
    enableThinking,
  };
}

/** @param lengths of answers, in tokens */
export async function benchReader(lengths: readonly number[], rounds: number): Promise<ReaderCost[]> {
  const { config } = loadConfig({ GPU: "cpu", THREADS: "1", CTX: "512" });
  const engine = await loadLlamaEngine({
    config,
    modelPath: join(packageRoot, "models", "tiny-chat.gguf"),
    log: silentLog(),
    heartbeat: new Heartbeat(),
    signal: new AbortController().signal,
  });
  try {
    const costs: ReaderCost[] = [];
    for (const name of Object.keys(answerKinds))
      for (const tokens of lengths) costs.push(await measure(engine, name, tokens, rounds));
    return costs;
  } finally {
    await engine.dispose();
  }
}

async function measure(engine: Engine, name: string, tokens: number, rounds: number): Promise<ReaderCost> {
  const kind = answerKinds[name]!;
  const { answer } = await engine.renderChat(promptOf(kind));
  const times = Array.from({ length: rounds }, () => read(answer.createReader(), kind, tokens));
  const best = times.reduce((a, b) => (a.totalMs < b.totalMs ? a : b));
  return { kind: name, tokens, microseconds: (1000 * best.totalMs) / tokens, longestMs: best.longestMs };
}

function read(reader: AnswerReader, { begin, piece }: Kind, tokens: number): { totalMs: number; longestMs: number } {
  reader.push(begin);
  let longestMs = 0;
  const began = performance.now();
  let last = began;
  for (let index = 0; index <= tokens; index += 1) {
    if (index < tokens) reader.push(piece(index));
    else reader.end();
    const now = performance.now();
    longestMs = Math.max(longestMs, now - last);
    last = now;
  }
  return { totalMs: last - began, longestMs };
}
