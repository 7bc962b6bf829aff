// One answer of any generating route in one form, out of the plain JSON or out of the events of its stream, for comparing both.

/** Of each choice: what it says, and the name and arguments of each call as `name(arguments)`. */
export type FoldedChoice = {
  text: string;
  reasoning: string;
  calls: string[];
  logprobs: unknown[];
  finish: unknown;
};

// biome-ignore lint/suspicious/noExplicitAny: a wrong guess fails the test that made it
type Json = any;

/** How a route writes answers. */
export type Dialect = {
  readonly plain: (answer: Json) => FoldedChoice[];
  readonly streamed: (events: readonly Json[]) => FoldedChoice[];
};

/** The JSON of every event but [DONE]. */
export function eventsOf(stream: string): Json[] {
  const lines = stream.split("\n").filter((line) => line.startsWith("data: {"));
  return lines.map((line) => JSON.parse(line.slice("data: ".length)));
}

const empty = (): FoldedChoice => ({ text: "", reasoning: "", calls: [], logprobs: [], finish: null });

function perIndex(events: readonly Json[], add: (folded: FoldedChoice, choice: Json) => void): FoldedChoice[] {
  const folded: FoldedChoice[] = [];
  for (const choice of events.flatMap(({ choices }) => choices)) {
    folded[choice.index] ??= empty();
    folded[choice.index]!.finish ??= choice.finish_reason;
    add(folded[choice.index]!, choice);
  }
  return folded;
}

const chat: Dialect = {
  plain: ({ choices }) =>
    choices.map(({ message, logprobs, finish_reason }: Json) => ({
      text: message.content ?? "",
      reasoning: message.reasoning_content ?? "",
      calls: (message.tool_calls ?? []).map((call: Json) => `${call.function.name}(${call.function.arguments})`),
      logprobs: logprobs?.content ?? [],
      finish: finish_reason,
    })),
  streamed(events) {
    const folded = perIndex(events, (choice, { delta, logprobs }) => {
      choice.text += delta.content ?? "";
      choice.reasoning += delta.reasoning_content ?? "";
      choice.logprobs.push(...(logprobs?.content ?? []));
      for (const { index, function: called } of delta.tool_calls ?? []) {
        if (called.name) choice.calls[index] = `${called.name}(`;
        choice.calls[index] += called.arguments;
      }
    });
    return folded.map((choice) => ({ ...choice, calls: choice.calls.map((call) => `${call})`) }));
  },
};

/** Of both shapes: OpenAI's has an array for each member, and one of them may be null. */
function entriesOf(logprobs: Json): unknown[] {
  if (!logprobs?.tokens) return logprobs?.content ?? [];
  const { tokens, token_logprobs, top_logprobs, text_offset } = logprobs;
  return tokens.map((token: string, i: number) => [token, token_logprobs[i], top_logprobs?.[i], text_offset[i]]);
}

const completions: Dialect = {
  plain: ({ choices }) =>
    choices.map(({ text, logprobs, finish_reason }: Json) => ({
      ...empty(),
      text,
      logprobs: entriesOf(logprobs),
      finish: finish_reason,
    })),
  streamed: (events) =>
    perIndex(events, (choice, { text, logprobs }) => {
      choice.text += text;
      choice.logprobs.push(...entriesOf(logprobs));
    }),
};

const responses: Dialect = {
  plain({ output, status }) {
    const of = (type: string) => output.filter((item: Json) => item.type === type);
    const texts = of("message").flatMap(({ content }: Json) => content);
    const folded = {
      text: texts.map(({ text }: Json) => text).join(""),
      reasoning: of("reasoning")
        .map(({ content }: Json) => content.map(({ text }: Json) => text).join(""))
        .join(""),
      calls: of("function_call").map((call: Json) => `${call.name}(${call.arguments})`),
      logprobs: texts.flatMap(({ logprobs }: Json) => logprobs),
      finish: status,
    };
    return [folded];
  },
  streamed(events) {
    const of = (type: string) => events.filter((event) => event.type === `response.${type}`);
    const deltas = (type: string) =>
      of(`${type}.delta`)
        .map(({ delta }) => delta)
        .join("");
    const calls = of("output_item.added").filter(({ item }) => item.type === "function_call");
    const pieces = of("function_call_arguments.delta");
    const argumentsOf = (id: string) => pieces.map(({ item_id, delta }) => (item_id === id ? delta : "")).join("");
    const folded = {
      text: deltas("output_text"),
      reasoning: deltas("reasoning_text"),
      calls: calls.map(({ item }) => `${item.name}(${argumentsOf(item.id)})`),
      logprobs: of("output_text.delta").flatMap(({ logprobs }) => logprobs),
      finish: events.at(-1)?.response.status,
    };
    return [folded];
  },
};

const messages: Dialect = {
  plain({ content, stop_reason }) {
    const join = (name: string) => content.map((block: Json) => block[name] ?? "").join("");
    const calls = content.filter(({ type }: Json) => type === "tool_use");
    const folded = {
      ...empty(),
      text: join("text"),
      reasoning: join("thinking"),
      calls: calls.map(({ name, input }: Json) => `${name}(${JSON.stringify(input)})`),
      finish: stop_reason,
    };
    return [folded];
  },
  streamed(events) {
    const deltas = events.filter(({ type }) => type === "content_block_delta");
    const join = (name: string) => deltas.map(({ delta }) => delta[name] ?? "").join("");
    const starts = events.filter(({ content_block }) => content_block?.type === "tool_use");
    const argumentsOf = (at: number) =>
      deltas.map(({ index, delta }) => (index === at ? (delta.partial_json ?? "") : "")).join("");
    const stop = events.find(({ type }) => type === "message_delta").delta.stop_reason;
    const calls = starts.map(({ index, content_block }) => [content_block.name, argumentsOf(index)]);
    // A call that the limit cut off is no JSON, and not in the plain answer (API.md section 12).
    const whole = stop === "max_tokens" ? calls.filter(([, text]) => isJson(text)) : calls;
    const folded = {
      ...empty(),
      text: join("text"),
      reasoning: join("thinking"),
      calls: whole.map(([name, text]) => `${name}(${JSON.stringify(JSON.parse(text))})`),
      finish: stop,
    };
    return [folded];
  },
};

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch (error) {
    if (error instanceof SyntaxError) return false;
    throw error;
  }
}

export const dialects = { chat, completions, responses, messages };
