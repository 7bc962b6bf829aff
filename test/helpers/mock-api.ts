// The two generating routes over the mock engine and a real socket, with the official client.
import type { ExecutionContext } from "ava";
import OpenAI from "openai";
import { createMockEngine, type MockEngine, type MockEngineOptions } from "../../src/engine/mock-engine.ts";
import { startServer, type TestServer, testConfig, testKey, withKey } from "./server.ts";

export type MockApi = {
  readonly engine: MockEngine;
  readonly server: TestServer;
  /** Never retries. */
  readonly client: OpenAI;
  /** One call as fetch sees it. */
  readonly post: (path: string, body: object, init?: RequestInit) => Promise<Response>;
};

/** Closed when the test ends. */
export async function startMockApi(
  t: ExecutionContext,
  options: MockEngineOptions = {},
  env: Record<string, string> = {},
): Promise<MockApi> {
  const engine = createMockEngine({ name: "served", ...options });
  const server = await startServer({ engine: () => engine, config: testConfig(env) });
  t.teardown(async () => {
    await server.close();
    await engine.dispose();
  });
  const client = new OpenAI({ apiKey: testKey, baseURL: `${server.url}/v1`, maxRetries: 0 });
  const post = (path: string, body: object, init: RequestInit = {}) => {
    const headers = { ...withKey, "Content-Type": "application/json" };
    return fetch(`${server.url}${path}`, { method: "POST", headers, body: JSON.stringify(body), ...init });
  };
  return { engine, server, client, post };
}

/** A promise and what settles it, for scripts that wait for the test. */
export function gate(): { readonly promise: Promise<void>; readonly open: () => void } {
  let open = () => {};
  const promise = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { promise, open };
}
