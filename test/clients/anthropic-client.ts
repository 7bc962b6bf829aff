// The package @anthropic-ai/sdk: messages, its tool runner and its parser. It has no embeddings.
import Anthropic from "@anthropic-ai/sdk";
import { betaZodTool } from "@anthropic-ai/sdk/helpers/beta/zod";
import { zodOutputFormat } from "@anthropic-ai/sdk/helpers/zod";
import { animal, type Client, type ClientKind, type Connection, isErrorOf, weather, weatherInput } from "./client.ts";

const textOf = (content: readonly { readonly type: string }[]): string =>
  content.map((block) => ("text" in block ? block.text : "")).join("");

export const anthropic: ClientKind = {
  name: "anthropic",
  embeds: false,
  honoursRetryAfter: true,
  isError: isErrorOf(Anthropic),
  connect({ url: baseURL, apiKey, maxRetries, temperature, fetch }: Connection): Client {
    const client = new Anthropic({ baseURL, apiKey, maxRetries, fetch });
    const ask = (content: string) => ({
      model: "tiny-chat",
      max_tokens: 2000,
      temperature,
      messages: [{ role: "user" as const, content }],
    });
    return {
      chat: async (question, signal) => textOf((await client.messages.create(ask(question), { signal })).content),
      async *stream(question, signal) {
        for await (const event of client.messages.stream(ask(question), { signal }))
          if (event.type === "content_block_delta" && event.delta.type === "text_delta") yield event.delta.text;
      },
      async useTool(question, tool) {
        const run = ({ city }: { city: string }) => tool(city);
        const tools = [betaZodTool({ ...weather, inputSchema: weatherInput, run })];
        return textOf((await client.beta.messages.toolRunner({ ...ask(question), tools })).content);
      },
      async structured(question) {
        const output_config = { format: zodOutputFormat(animal) };
        return (await client.messages.parse({ ...ask(question), output_config })).parsed_output;
      },
      embed: () => Promise.reject(new Error("it has no embeddings")),
    };
  },
};
