// The application over the real engine on tiny-chat, on a socket, with the official client.
import type { ExecutionContext } from "ava";
import OpenAI from "openai";
import { startServer, testConfig, testKey, withKey } from "./server.ts";
import { loadTinyEngine } from "./tiny-engine.ts";

/** Closed when the test ends. */
export async function startTinyApi(
  t: Pick<ExecutionContext, "teardown">,
  env: Record<string, string> = {},
  overrides: Parameters<typeof loadTinyEngine>[1] = {},
) {
  const { engine } = await loadTinyEngine(env, overrides);
  const server = await startServer({ engine: () => engine, config: testConfig(env) });
  t.teardown(async () => {
    await server.close();
    await engine.dispose();
  });
  const client = new OpenAI({ apiKey: testKey, baseURL: `${server.url}/v1`, maxRetries: 0 });
  const post = (path: string, body: object | string) =>
    fetch(`${server.url}${path}`, {
      method: "POST",
      headers: { ...withKey, "Content-Type": "application/json" },
      body: typeof body === "string" ? body : JSON.stringify(body),
    });
  return { engine, url: server.url, client, post };
}
