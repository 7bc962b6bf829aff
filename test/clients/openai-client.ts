// The package openai: chat completions, its tool runner and its parser.
import OpenAI from "openai";
import { zodFunction, zodResponseFormat } from "openai/helpers/zod";
import { animal, type Client, type ClientKind, type Connection, isErrorOf, weather, weatherInput } from "./client.ts";

export const openai: ClientKind = {
  name: "openai",
  embeds: true,
  honoursRetryAfter: true,
  isError: isErrorOf(OpenAI),
  connect({ url, apiKey, maxRetries, temperature, fetch }: Connection): Client {
    const client = new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries, fetch });
    const ask = (content: string) => ({
      model: "tiny-chat",
      temperature,
      messages: [{ role: "user" as const, content }],
    });
    return {
      async chat(question, signal) {
        const { choices } = await client.chat.completions.create(ask(question), { signal });
        return choices[0]!.message.content ?? "";
      },
      async *stream(question, signal) {
        const chunks = await client.chat.completions.create({ ...ask(question), stream: true }, { signal });
        for await (const { choices } of chunks) yield choices[0]?.delta.content ?? "";
      },
      async useTool(question, tool) {
        const run = ({ city }: { city: string }) => tool(city);
        const tools = [zodFunction({ ...weather, parameters: weatherInput, function: run })];
        return (await client.chat.completions.runTools({ ...ask(question), tools }).finalContent()) ?? "";
      },
      async structured(question) {
        const response_format = zodResponseFormat(animal, "animal");
        const { choices } = await client.chat.completions.parse({ ...ask(question), response_format });
        return choices[0]!.message.parsed;
      },
      async embed(input) {
        const { data } = await client.embeddings.create({ model: "tiny-embed", input });
        return data.map(({ embedding }) => embedding);
      },
    };
  },
};
