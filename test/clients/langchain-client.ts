// LangChain: @langchain/openai. It waits between attempts as it likes: its own retries never look at Retry-After.
import { HumanMessage, type ToolMessage } from "@langchain/core/messages";
import { tool as toolOf } from "@langchain/core/tools";
import { ChatOpenAI, OpenAIEmbeddings } from "@langchain/openai";
import { animal, type Client, type ClientKind, type Connection, weather, weatherInput } from "./client.ts";

/** What LangChain writes on errors; it has no word for a 400 and a 503. */
const codes = {
  ...{ 400: undefined, 503: undefined },
  ...{ 401: "MODEL_AUTHENTICATION", 404: "MODEL_NOT_FOUND", 429: "MODEL_RATE_LIMIT" },
};

export const langchain: ClientKind = {
  name: "langchain",
  embeds: true,
  honoursRetryAfter: false,
  isError(error, status) {
    const { status: got, lc_error_code: code } = error as { status?: number; lc_error_code?: string };
    return error instanceof Error && got === status && code === codes[status];
  },
  connect({ url, apiKey, maxRetries, temperature, fetch }: Connection): Client {
    const options = { apiKey, maxRetries, configuration: { baseURL: `${url}/v1`, fetch } };
    const model = new ChatOpenAI({ ...options, model: "tiny-chat", temperature });
    return {
      chat: async (question, signal) => (await model.invoke(question, signal && { signal })).text,
      async *stream(question, signal) {
        for await (const chunk of await model.stream(question, signal && { signal })) yield chunk.text;
      },
      async useTool(question, tool) {
        const run = toolOf(async (input) => tool(weatherInput.parse(input).city), { ...weather, schema: weatherInput });
        const withTools = model.bindTools([run]);
        const asked = new HumanMessage(question);
        const call = await withTools.invoke([asked]);
        const results: ToolMessage[] = [];
        for (const called of call.tool_calls ?? []) results.push((await run.invoke(called)) as ToolMessage);
        return (await withTools.invoke([asked, call, ...results])).text;
      },
      structured: (question) =>
        model.withStructuredOutput(animal, { method: "jsonSchema", name: "animal" }).invoke(question),
      embed: (texts) => new OpenAIEmbeddings({ ...options, model: "tiny-embed" }).embedDocuments(texts),
    };
  },
};
