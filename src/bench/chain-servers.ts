// The servers that `bench chain` measures: the mock engine behind nothing but Node, then behind one more link of our chain each time.
// What a link costs is the difference between two neighbours.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { type AdmissionParts, createAdmission } from "../admission/create.ts";
import type { Context } from "../api/handler.ts";
import type { Parts } from "../api/parts.ts";
import type { Route } from "../api/routes.ts";
import { createApp } from "../app.ts";
import { loadConfig } from "../config.ts";
import type { Engine, GenerationRequest } from "../engine/engine.ts";
import { createMockEngine, type MockEngine } from "../engine/mock-engine.ts";
import { Heartbeat } from "../health/heartbeat.ts";
import { watchDoor } from "../http/access-log.ts";
import { createHttpServer } from "../http/client-error.ts";
import { parseKeyFile } from "../keys/key-file.ts";
import { type Identity, KeyRing } from "../keys/key-ring.ts";
import { AccessFile, noAccessLog } from "../telemetry/access-file.ts";
import { silentLog } from "../telemetry/log.ts";
import { Metrics } from "../telemetry/metrics.ts";

/** Each server has its own link and all before it. */
export const links = ["node", "door", "api", "auth", "access log", "quotas"] as const;
/** The last one. */
export const wholeChain = "quotas";
export type Link = (typeof links)[number];

export const path = "/v1/chat/completions";
const key = "sk-bench-0123456789abcdef";
/** As a browser's page would call, for the whole chain to have its work. */
export const headers = {
  authorization: `Bearer ${key}`,
  "content-type": "application/json",
  origin: "https://a.example",
};
export const body = JSON.stringify({
  messages: [{ role: "user", content: "How much does the chain cost?" }],
  max_tokens: 8,
});

/** Keys that are all compared with every time. */
const keyCount = 100;
/** A reader who does not read is behind after some of these; the mock engine would take long to get there word by word. */
const manyWords = "many words ".repeat(6000);
const answer = ["The", " chain", " costs", " little", "."];

export type BenchServer = { readonly port: number; readonly close: () => Promise<void> };

/** @param folder where the access log goes @param sequences how many requests the engine takes at once */
export async function startLink(link: Link, folder: string, sequences: number): Promise<BenchServer> {
  const config = loadConfig({ DATA_DIR: folder, CORS_ORIGINS: "https://a.example" }).config;
  const engine = createMockEngine({ maxConcurrentRequests: sequences, script: speak });
  const heartbeat = new Heartbeat();
  const places = () => engine.maxConcurrentRequests;
  const admission = createAdmission({ config, log: silentLog(), heartbeat, places });
  const parts = partsFor(link, { config, heartbeat, engine, admission });
  const server = link === "node" ? plainServer(engine) : chainServer(parts, link);
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen(0, "127.0.0.1", resolve));
  const close = async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    await engine.dispose();
    await admission.close();
  };
  return { port: (server.address() as AddressInfo).port, close };
}

/** Those who ask for much get a long answer: the readers that never read. */
function* speak({ maxTokens }: GenerationRequest): Generator<{ text: string }> {
  if (maxTokens > 1000) for (let token = 0; token < maxTokens; token++) yield { text: manyWords };
  for (const text of answer) yield { text };
}

type Shared = Pick<Parts, "config" | "heartbeat"> & {
  readonly engine: MockEngine;
  readonly admission: AdmissionParts;
};

function partsFor(link: Link, { config, heartbeat, engine, admission }: Shared): Parts {
  const has = (one: Link) => links.indexOf(link) >= links.indexOf(one);
  const log = silentLog();
  heartbeat.state = "ready";
  return {
    config,
    log,
    heartbeat,
    quota: admission.quota,
    gate: admission.gate,
    keys: has("auth") ? keyRing(has("quotas")) : new KeyRing("auth-disabled", manyLimits),
    engine: () => engine,
    cut: new AbortController().signal,
    metrics: new Metrics(),
    accessLog: has("access log") ? new AccessFile(config, log) : noAccessLog,
  };
}

/** Quotas that count and are never used up. */
const manyLimits = {
  requestsPerMinute: 1_000_000_000,
  tokensPerMinute: 1_000_000_000_000,
  concurrentRequests: 100_000,
};

function keyRing(quotas: boolean): KeyRing {
  const others = Array.from({ length: keyCount - 1 }, (_, index) => `other${index}:sk-other-0123456789-${index}`);
  const { entries } = parseKeyFile([...others, `bench:${key}`].join("\n"));
  return quotas ? new KeyRing(entries, manyLimits) : new UnlimitedKeyRing(entries, manyLimits);
}

/** Knows its callers and counts nothing of them. */
class UnlimitedKeyRing extends KeyRing {
  override authenticate(sent: Parameters<KeyRing["authenticate"]>[0]): Identity {
    return { ...super.authenticate(sent), limits: null };
  }
}

/** What the door lets through goes straight to the engine. */
const straight: Route = {
  method: "POST",
  path,
  class: "public",
  handler: async (ctx: Context, parts) => {
    ctx.body = await generate(ctx.req, parts.engine()!);
  },
};

function chainServer(parts: Parts, link: Link): Server {
  const app = link === "door" ? createApp(parts, [straight]) : createApp(parts);
  return createHttpServer(app.callback(), parts.config, parts.log, watchDoor(parts));
}

/** What anybody would have without us. */
function plainServer(engine: MockEngine): Server {
  return createServer((request: IncomingMessage, response: ServerResponse) => {
    generate(request, engine).then(
      (text) => {
        const reply = JSON.stringify(text);
        response.writeHead(200, { "content-type": "application/json", "content-length": Buffer.byteLength(reply) });
        response.end(reply);
      },
      (error: Error) => response.destroy(error),
    );
  });
}

/** Reads the body, and has the engine answer it. */
async function generate(request: IncomingMessage, engine: Engine): Promise<object> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const { messages, max_tokens: maxTokens } = JSON.parse(Buffer.concat(chunks).toString());
  const { tokens } = await engine.renderChat({ messages });
  const sampling = { temperature: 0, topP: 1, topK: 40, minP: 0, seed: 0, repeatPenalty: 1, repeatLastN: 0 };
  const events = engine.generate({
    prompt: tokens,
    maxTokens,
    stop: [],
    sampling: { ...sampling, frequencyPenalty: 0, presencePenalty: 0, logitBias: [] },
    cacheScope: "",
    signal: new AbortController().signal,
  });
  let content = "";
  for await (const event of events) {
    if (event.type === "delta") for (const part of event.parts) if (part.kind === "content") content += part.text;
  }
  return { choices: [{ message: { role: "assistant", content } }] };
}
