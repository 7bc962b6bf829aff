// What a benchmark makes of servers that do not end their answers well.
import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";
import test, { type ExecutionContext } from "ava";
import { keptConnections, timeRequest } from "../../src/bench/http-client.ts";
import { serve } from "../helpers/node-server.ts";

const chunk = (text: string) => `data: {"model":"m","choices":[{"index":0,"text":"${text}"}]}\n\n`;
const usage = 'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}\n\n';

/** Answers every request with these bytes of an event stream, then with `end`. */
async function ask(t: ExecutionContext, text: string, end: (response: ServerResponse) => void) {
  const { server, port } = await serve(t, (request, response) => {
    request.resume();
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write(text, () => end(response));
  });
  const connections = keptConnections();
  t.teardown(() => connections.destroy());
  const target = { url: new URL(`http://127.0.0.1:${port}/`), apiKey: undefined, endpoint: "completions" } as const;
  const timed = await timeRequest({ ...target, connections }, { prompt: "a", maxTokens: 2, ignoreEos: true });
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  return timed;
}

const lost = (response: ServerResponse) => response.destroy();

test("a connection that is lost amid the answer is a failure with its reason", async (t) => {
  t.like(await ask(t, chunk("a"), lost), { outcome: "failed", problem: "aborted" });
});

test("one that is lost after the end mark, before the end of the body, is none", async (t) => {
  const whole = `${chunk("a")}${chunk("b")}${usage}data: [DONE]\n\n`;
  t.like(await ask(t, whole, () => {}), { outcome: "finished", completionTokens: 2 });
  t.like(await ask(t, whole, lost), { outcome: "finished", completionTokens: 2 });
});

test("a kept connection that the server closes as it is taken is no failure, a new one is", async (t) => {
  const sockets = new Set<Socket>();
  const { server, port } = await serve(t, (request, response) => {
    request.resume();
    // The second request on a connection finds it closed.
    if (sockets.has(request.socket)) return void request.socket.destroy();
    sockets.add(request.socket);
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.end(`${chunk("a")}${chunk("b")}${usage}data: [DONE]\n\n`);
  });
  const connections = keptConnections();
  const target = { url: new URL(`http://127.0.0.1:${port}/`), apiKey: undefined, endpoint: "completions" } as const;
  const timed = () => timeRequest({ ...target, connections }, { prompt: "a", maxTokens: 2, ignoreEos: true });
  for (let i = 0; i < 5; i++) t.like(await timed(), { outcome: "finished" });
  t.true(sockets.size > 1 && sockets.size <= 5);
  server.removeAllListeners("request").on("request", (request) => request.socket.destroy());
  t.like(await timed(), { outcome: "failed", problem: "socket hang up" });
  connections.destroy();
});

test("an error event is a failure with its message, whatever the connection does then", async (t) => {
  const failed = `${chunk("a")}data: {"error":{"message":"too bad"}}\n\n`;
  t.like(await ask(t, failed, lost), { outcome: "failed", problem: "too bad" });
  t.like(await ask(t, failed, (response) => response.end()), { outcome: "failed", problem: "too bad" });
});
