// What the generating endpoints have in common: from a valid request and its prompts to the answer, streamed or whole. Everything
// refusable is refused before the status line; after it, a failure is the stream's last event.
import { setImmediate as nextTurn } from "node:timers/promises";
import type { AnswerFormat, Engine, Usage } from "../engine/engine.ts";
import { Failure } from "../errors.ts";
import { ClientLeft } from "../http/departure.ts";
import { EventStream, type StreamForm } from "../http/event-stream.ts";
import { answerWithSlices, jsonInTurns } from "../http/large-json.ts";
import { type AnswerForm, type Choice, type ChoiceEvent, ChoiceFold, type Chunk } from "../openai/answer.ts";
import { formatIgnored } from "../openai/ignored-parameters.ts";
import { resolveLogitBias } from "../openai/logit-bias.ts";
import { addToSeed, type GenerationSettings, type RequestLimits } from "../openai/sampling-fields.ts";
import { sumUsage, type UsageObject } from "../openai/usage.ts";
import type { CallRecord } from "../telemetry/call-record.ts";
import { type ChoiceRequest, ChoiceRun } from "./choices.ts";
import { prepareSamplers } from "./constrain.ts";
import type { Context } from "./handler.ts";
import type { Parts } from "./parts.ts";
import { roomFor } from "./room.ts";
import { transcribe } from "./transcript.ts";
import { takeTurn, type Work } from "./turn.ts";

/** A prompt's tokens and, after a chat template, how the model writes its answers. */
export type Prompt = { readonly tokens: Int32Array; readonly answer?: AnswerFormat };

export type Generation = {
  readonly engine: Engine;
  readonly settings: GenerationSettings;
  readonly ignored: readonly string[];
  readonly choices: readonly ChoiceRequest[];
  readonly form: AnswerForm;
  /** What a stream has besides the form's events; default: plainStream. */
  readonly streamForm?: StreamForm;
};

/** The state gate lets no call through without one. */
export function servingEngine({ engine }: Parts): Engine {
  const serving = engine();
  if (!serving) throw new Error("the state gate let a call through without an engine");
  return serving;
}

export function limitsOf(engine: Engine, { config }: Parts): RequestLimits & { readonly vocabSize: number } {
  const { name, vocabSize, loraScales } = engine.model;
  return { config, modelName: name, maxChoices: engine.maxConcurrentRequests, vocabSize, loraScales };
}

/** The bias of every token that has one. @throws Failure invalid_value for an id outside the vocabulary */
export async function resolveBias(
  engine: Engine,
  { logitBias, ignoreEnd }: GenerationSettings,
): ReturnType<typeof resolveLogitBias> {
  const tokenize = (text: string) => engine.tokenize(text, false, false);
  const biases = await resolveLogitBias(logitBias, { model: engine.model, tokenize });
  if (!ignoreEnd) return biases;
  return [...biases, ...engine.model.endTokens.map((token): [number, number] => [token, Number.NEGATIVE_INFINITY])];
}

/**
 * The generations of a request, by choice index: n for each prompt. What they must keep to is compiled before the context is looked at.
 * @param param the field that holds the prompts
 * @throws Failure invalid_grammar, schema_too_complex, context_length_exceeded
 */
export async function planChoices(
  ctx: Context,
  { config }: Parts,
  request: {
    readonly engine: Engine;
    readonly settings: GenerationSettings;
    readonly logitBias: Awaited<ReturnType<typeof resolveLogitBias>>;
    readonly prompts: readonly Prompt[];
    readonly param: "messages" | "prompt" | "input";
  },
): Promise<ChoiceRequest[]> {
  const { engine, settings, logitBias, param } = request;
  const { model } = engine;
  const caller = { keyId: ctx.state.identity.keyId, requestId: ctx.state.requestId };
  const ownScope = config.prefixCacheScope === "shared" ? "" : ctx.state.identity.keyId;
  const shared = {
    stop: settings.stop,
    cacheScope: settings.cachePrompt ? ownScope : null,
    loraScales: settings.loraScales,
    caller,
    ...(settings.logprobs !== undefined && { logprobs: settings.logprobs }),
    ...(settings.promptLogprobs !== undefined && { promptLogprobs: settings.promptLogprobs }),
    ...(settings.maxDecodeMs !== undefined && { maxDecodeMs: settings.maxDecodeMs }),
    ...(settings.report.progress && { reportProgress: true }),
    ...(settings.stream && settings.report.timingsPerToken && { reportTimings: true }),
  };
  const choices = request.prompts.flatMap(({ tokens, answer }) =>
    Array.from({ length: settings.n }, (_, choice) => {
      const sampling = { ...settings.sampling, logitBias, seed: addToSeed(settings.sampling.seed, choice) };
      return { prompt: tokens, sampling, ...shared, ...(answer && { answer }) };
    }),
  );
  const prepared = await prepareSamplers(engine, settings, choices);
  return prepared.map((choice) => {
    const maxTokens = roomFor(choice.prompt.length, settings.maxTokens, param, { model, config });
    return { ...choice, maxTokens };
  });
}

/** Generates and answers. Resolves when the answer is complete, or the last event of a failed stream is on its way. */
export async function answerWith(ctx: Context, parts: Parts, generation: Generation): Promise<void> {
  const { engine, settings, ignored } = generation;
  const { choices: requests } = generation;
  const place = await takeTurn(ctx, parts, workOf(requests, settings));
  const { admission, record, signal: client } = ctx.state;
  const onOver = (computed: readonly Usage[]) => {
    record.generated(tokenCounts(sumUsage(computed, settings.n)));
    admission.settle(tokenCost(computed, settings.n));
  };
  const { requestTimeout: timeoutSeconds, logPrompts } = parts.config;
  const generator = logPrompts ? transcribe(engine, parts.log) : engine;
  const run = new ChoiceRun({ engine: generator, requests, place, client, timeoutSeconds, onOver });
  const report = formatIgnored(ignored);
  const headers: Record<string, string> = report ? { "x-ignored-parameters": report } : {};
  try {
    if (settings.stream) await stream(ctx, parts, generation, { run, headers });
    else {
      const body = await whole(ctx, generation, run);
      ctx.set(headers);
      if (isLarge(settings)) answerWithSlices(ctx, await jsonInTurns(body), run.signal);
      else ctx.body = body;
    }
  } finally {
    run.end();
  }
}

/** Only log-probabilities make an answer so large that writing it would hold up the others. */
const isLarge = ({ logprobs, promptLogprobs }: GenerationSettings): boolean =>
  logprobs !== undefined || promptLogprobs !== undefined;

/** What the request asks for, each prompt once. */
function workOf(requests: readonly ChoiceRequest[], { n, maxTokens, stream }: GenerationSettings): Work {
  const prompts = requests.filter((_, index) => index % n === 0);
  return {
    promptTokens: prompts.reduce((sum, { prompt }) => sum + prompt.length, 0),
    answers: requests.length,
    maxTokens: maxTokens === -1 ? undefined : maxTokens,
    stream,
  };
}

/** What counts against the quota of tokens: prompts without what was cached, and all that was generated. */
function tokenCost(computed: readonly Usage[], n: number): number {
  const { promptTokens, cachedTokens, completionTokens } = tokenCounts(sumUsage(computed, n));
  return promptTokens - cachedTokens + completionTokens;
}

async function whole(ctx: Context, { form, choices, settings }: Generation, run: ChoiceRun): Promise<object> {
  const folds = choices.map(() => new ChoiceFold());
  await run.deliver((item) => {
    note(ctx.state.record, item);
    folds[item.choice]!.add(item.event);
    form.observe?.(item);
  });
  const results: Choice[] = folds.map((fold) => fold.result());
  const usages = results.map(({ finish }) => finish.usage);
  const usage = sumUsage(usages, settings.n);
  ctx.state.record.generated(tokenCounts(usage));
  return form.reply(results, usage);
}

function note(record: CallRecord, { choice, event }: ChoiceEvent): void {
  if (event.type === "finish") record.finished(event.reason, event.timings);
  else if (event.type === "delta") record.delta(choice);
}

function tokenCounts(usage: UsageObject): Parameters<CallRecord["generated"]>[0] {
  const { prompt_tokens: promptTokens, completion_tokens: completionTokens, prompt_tokens_details } = usage;
  return { promptTokens, cachedTokens: prompt_tokens_details.cached_tokens, completionTokens };
}

async function stream(
  ctx: Context,
  parts: Parts,
  generation: Generation,
  { run, headers }: { readonly run: ChoiceRun; readonly headers: Readonly<Record<string, string>> },
): Promise<void> {
  const out = new EventStream(ctx.res, {
    signal: run.signal,
    headers,
    ...(generation.streamForm && { form: generation.streamForm }),
  });
  try {
    await sendEvents(ctx, generation, run, out);
    await out.done();
  } catch (error) {
    if (!out.begun) throw error;
    await failStream(ctx, parts, out, error);
  } finally {
    out.close();
    // From the first byte on the response is the stream's; before it, it still is Koa's to answer a failure with.
    if (out.begun) ctx.respond = false;
  }
}

async function sendEvents(
  ctx: Context,
  { form, choices, settings }: Generation,
  run: ChoiceRun,
  out: EventStream,
): Promise<void> {
  const usages = new Array<Usage>(choices.length);
  const { record } = ctx.state;
  const large = isLarge(settings);
  await run.deliver((item) => {
    const { choice, event } = item;
    note(record, item);
    if (event.type === "finish") usages[choice] = event.usage;
    return sendAll(out, form.chunks(item), { large, onCaughtUp: () => record.readerCaughtUp(choice) });
  });
  const usage = sumUsage(usages, settings.n);
  record.generated(tokenCounts(usage));
  if (settings.includeUsage) await out.send(form.usageChunk(usage));
}

type Sending = { readonly large: boolean; readonly onCaughtUp: () => void };

/** What came of one event. A promise only where there is something to wait for: there is an event for every token. */
function sendAll(out: EventStream, chunks: readonly Chunk[], sending: Sending): Promise<void> | undefined {
  if (chunks.length > 1) return sendInTurns(out, chunks, sending);
  const waited = chunks.length === 1 && out.send(chunks[0]!, sending.large);
  return waited ? noteWait(waited, sending) : undefined;
}

/** A long prompt that goes before its answer is many large chunks. */
async function sendInTurns(out: EventStream, chunks: readonly Chunk[], sending: Sending): Promise<void> {
  for (const [index, chunk] of chunks.entries()) {
    if (index > 1) await nextTurn();
    const waited = out.send(chunk, sending.large);
    if (waited) await noteWait(waited, sending);
  }
}

async function noteWait(waited: Promise<boolean>, { onCaughtUp }: Sending): Promise<void> {
  if (await waited) onCaughtUp();
}

/** After the head a failure is counted, logged, and told as the stream's last event. */
async function failStream(ctx: Context, { log }: Parts, out: EventStream, error: unknown): Promise<void> {
  const { requestId, signal, record } = ctx.state;
  record.leftQueue(0);
  if (signal.reason instanceof ClientLeft) {
    if (error !== signal.reason) log.debug({ requestId, err: error }, "failed after the client had left");
    return;
  }
  const failure =
    error instanceof Failure
      ? error
      : new Failure("internal_error", `Internal error, request ${requestId}.`, { cause: error });
  if (failure.status !== 503) {
    log.error({ requestId, err: failure.cause ?? error }, `${ctx.method} ${ctx.path} failed after its head`);
  }
  record.failed(failure);
  await out.fail(failure);
}
