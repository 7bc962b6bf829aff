// The application over the real engine on tiny-chat, on a socket, with the official client.
import type { ExecutionContext, TestFn } from "ava";
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

export type TinyApi = Awaited<ReturnType<typeof startTinyApi>>;

/** One for all tests of a file: there from the first test on, closed after the last. */
export function shareTinyApi(test: TestFn, ...options: DropFirst<Parameters<typeof startTinyApi>>): TinyApi {
  const api = {} as TinyApi;
  const closing: (() => unknown)[] = [];
  test.before(async () => {
    Object.assign(api, await startTinyApi({ teardown: (close) => void closing.push(close) }, ...options));
  });
  test.after.always(async () => {
    for (const close of closing) await close();
  });
  return api;
}

type DropFirst<T extends unknown[]> = T extends [unknown, ...infer Rest] ? Rest : never;
