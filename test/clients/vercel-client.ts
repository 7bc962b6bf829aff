// The Vercel AI SDK: ai with @ai-sdk/openai-compatible.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, embedMany, generateObject, generateText, stepCountIs, streamText, tool as toolOf } from "ai";
import { animal, type Client, type ClientKind, type Connection, weather, weatherInput } from "./client.ts";

export const vercel: ClientKind = {
  name: "vercel",
  embeds: true,
  honoursRetryAfter: true,
  isError: (error, status) => APICallError.isInstance(error) && error.statusCode === status,
  connect({ url, apiKey, maxRetries, temperature, fetch }: Connection): Client {
    const provider = createOpenAICompatible({
      name: "ours",
      baseURL: `${url}/v1`,
      apiKey,
      fetch,
      supportsStructuredOutputs: true,
    });
    const ask = (prompt: string) => ({ model: provider("tiny-chat"), prompt, temperature, maxRetries });
    const abortable = (signal?: AbortSignal) => (signal ? { abortSignal: signal } : {});
    return {
      chat: async (question, signal) => (await generateText({ ...ask(question), ...abortable(signal) })).text,
      async *stream(question, signal) {
        yield* streamText({ ...ask(question), ...abortable(signal) }).textStream;
      },
      async useTool(question, tool) {
        const get_weather = toolOf({
          description: weather.description,
          inputSchema: weatherInput,
          execute: async ({ city }) => tool(city),
        });
        const { text } = await generateText({ ...ask(question), tools: { get_weather }, stopWhen: stepCountIs(3) });
        return text;
      },
      structured: async (question) => (await generateObject({ ...ask(question), schema: animal })).object,
      async embed(values) {
        const model = provider.textEmbeddingModel("tiny-embed");
        return (await embedMany({ model, values, maxRetries })).embeddings;
      },
    };
  },
};
