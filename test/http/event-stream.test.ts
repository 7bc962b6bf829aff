// The bytes of streams as they arrive over a socket: frames, pings, ends, and what a slow or leaving reader brings about.
import test, { type ExecutionContext } from "ava";
import type { Context } from "../../src/api/handler.ts";
import { messageStream } from "../../src/api/messages.ts";
import type { Route } from "../../src/api/routes.ts";
import type { MockStep } from "../../src/engine/mock-engine.ts";
import { Failure } from "../../src/errors.ts";
import { Heartbeat } from "../../src/health/heartbeat.ts";
import { ClientLeft } from "../../src/http/departure.ts";
import { EventStream, plainStream, type StartTimer, type StreamForm } from "../../src/http/event-stream.ts";
import { turnsDuring } from "../helpers/loop.ts";
import { gate, startMockApi } from "../helpers/mock-api.ts";
import { until } from "../helpers/process.ts";
import { head, RawConnection } from "../helpers/raw.ts";
import { startServer, testKey } from "../helpers/server.ts";

const authorization = `Authorization: Bearer ${testKey}`;

/** Sends a request and gives the connection. */
function open(port: number, path: string, body: object = {}): RawConnection {
  const connection = new RawConnection(port);
  const json = JSON.stringify(body);
  const lines = [authorization, "Connection: close", `Content-Length: ${Buffer.byteLength(json)}`];
  connection.write(head(`POST ${path} HTTP/1.1`, ...lines) + json);
  return connection;
}

type Received = { head: string; chunks: string[]; body: string };

/** The head, and the body by the chunks it came in. */
function received({ received }: RawConnection): Received {
  const end = received.indexOf("\r\n\r\n");
  const chunks: string[] = [];
  for (let at = end + 4; at < received.length; ) {
    const line = received.indexOf("\r\n", at);
    const size = Number.parseInt(received.slice(at, line), 16);
    if (size === 0) break;
    chunks.push(Buffer.from(received.slice(line + 2, line + 2 + size), "latin1").toString());
    at = line + 2 + size + 2;
  }
  return { head: received.slice(0, end), chunks, body: chunks.join("") };
}

/** What differs from call to call. */
function settled(text: string): string {
  return text
    .replace(/"id":"(chatcmpl|cmpl)-[A-Za-z0-9]{24}"/g, '"id":"$1-X"')
    .replace(/"created":\d+/g, '"created":1');
}

const script = (): MockStep[] => [{ text: "Hm", kind: "reasoning" }, { text: "Grüße\n" }, { text: "you" }];

test("a chat stream, byte for byte", async (t) => {
  const { server } = await startMockApi(t, { script });
  const body = {
    messages: [{ role: "user", content: "Hi" }],
    stream: true,
    stream_options: { include_usage: true },
    zz: 1,
  };
  const connection = open(server.port, "/v1/chat/completions", body);
  await connection.closed;
  const { head, chunks, body: text } = received(connection);
  const start =
    '{"id":"chatcmpl-X","object":"chat.completion.chunk","created":1,"model":"served","system_fingerprint":"b0-mock","choices":';
  const chunk = (delta: string, reason = "null") =>
    `data: ${start}[{"index":0,"delta":${delta},"logprobs":null,"finish_reason":${reason}}],"usage":null}\n\n`;
  t.is(
    settled(text),
    [
      chunk('{"role":"assistant","content":""}'),
      chunk('{"reasoning_content":"Hm"}'),
      chunk('{"content":"Grüße\\n"}'),
      chunk('{"content":"you"}'),
      chunk("{}", '"stop"'),
      `data: ${start}[],"usage":{"prompt_tokens":21,"completion_tokens":4,"total_tokens":25,"prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":1}}}\n\n`,
      "data: [DONE]\n\n",
    ].join(""),
  );
  t.true(chunks.every((piece) => piece.endsWith("\n\n")));
  t.regex(head, /^HTTP\/1\.1 200 OK\r\n/);
  t.regex(head, /\r\ncontent-type: text\/event-stream; charset=utf-8\r\n/i);
  t.regex(head, /\r\ncache-control: no-cache, no-transform\r\n/i);
  t.regex(head, /\r\nx-accel-buffering: no\r\n/i);
  t.regex(head, /\r\nx-request-id: req_/i);
  t.regex(head, /\r\nx-ignored-parameters: zz\r\n/i);
  t.notRegex(head, /content-length|pragma|last-event-id/i);
});

test("a completions stream, byte for byte", async (t) => {
  const { server } = await startMockApi(t, { script: () => script().slice(1) });
  const connection = open(server.port, "/v1/completions", { prompt: "Hi", stream: true, max_tokens: 2 });
  await connection.closed;
  const { head, body } = received(connection);
  const chunk = (text: string, reason = "null") =>
    `data: {"id":"cmpl-X","object":"text_completion","created":1,"model":"served","system_fingerprint":"b0-mock","choices":[{"index":0,"text":"${text}","logprobs":null,"finish_reason":${reason}}]}\n\n`;
  t.is(settled(body), [chunk("Grüße\\n"), chunk("you"), chunk("", '"length"'), "data: [DONE]\n\n"].join(""));
  t.notRegex(head, /x-ignored-parameters/i);
});

test("a failure after the head is the last event, without [DONE]", async (t) => {
  const fail = new Failure("generation_failed", "The engine failed.");
  const { server } = await startMockApi(t, { script: () => [{ text: "a" }, { fail }] });
  const connection = open(server.port, "/v1/completions", { prompt: "Hi", stream: true });
  await connection.closed;
  const frames = received(connection).body.split("\n\n");
  t.is(frames.length, 3);
  t.is(
    frames[1],
    'data: {"error":{"message":"The engine failed.","type":"server_error","param":null,"code":"generation_failed"}}',
  );
  t.is(frames[2], "");
});

test("the first bytes arrive while the answer is still being made", async (t) => {
  const door = gate();
  const { server } = await startMockApi(t, {
    script: () => [{ text: "first" }, { wait: door.promise }, { text: "last" }],
  });
  const connection = open(server.port, "/v1/completions", { prompt: "Hi", stream: true });
  await connection.until("first");
  t.false(connection.received.includes("last"));
  door.open();
  await connection.closed;
  t.true(connection.received.includes("last"));
});

type StreamOptions = { startTimer?: StartTimer; form?: StreamForm };
type Opened = { connection: RawConnection; ctx: Context; stream: EventStream };

/** A stream that the test writes by hand. */
async function openStream(t: ExecutionContext, options: StreamOptions = {}, query = ""): Promise<Opened> {
  const over = gate();
  let opened: Omit<Opened, "connection"> | undefined;
  const handler: Route["handler"] = async (ctx) => {
    ctx.respond = false;
    opened = { ctx, stream: new EventStream(ctx.res, { signal: ctx.state.signal, ...options }) };
    await over.promise;
  };
  const heartbeat = new Heartbeat();
  heartbeat.state = "ready";
  const server = await startServer({ heartbeat }, [{ method: "POST", path: "/stream", class: "key", handler }]);
  t.teardown(() => {
    over.open();
    return server.close();
  });
  const connection = open(server.port, `/stream${query}`);
  await until(() => opened !== undefined);
  return { connection, ...opened! };
}

/** A timer that fires when the test says so. */
function manualTimer() {
  const timer = { ms: 0, restarts: 0, stopped: false, silence: () => {} };
  const startTimer: StartTimer = (ms, onSilence) => {
    Object.assign(timer, { ms, silence: onSilence });
    return {
      restart: () => {
        timer.restarts += 1;
      },
      stop: () => {
        timer.stopped = true;
      },
    };
  };
  return { timer, startTimer };
}

test("15 s of silence bring a ping, also as the first bytes, and every write begins the silence anew", async (t) => {
  const { timer, startTimer } = manualTimer();
  const { connection, stream } = await openStream(t, { startTimer });
  t.is(timer.ms, 15_000);
  t.false(stream.begun);
  timer.silence();
  t.true(stream.begun);
  await connection.until(": ping\n\n");
  timer.silence();
  await connection.until(": ping\n\n\r\n8\r\n: ping\n\n");
  await stream.send({ a: 1 });
  t.is(timer.restarts, 3);
  await stream.done();
  await connection.closed;
  t.is(received(connection).body, ': ping\n\n: ping\n\ndata: {"a":1}\n\ndata: [DONE]\n\n');
  t.true(timer.stopped);
});

test("Messages: events are named, a silence is a ping event, the end is silent, a failure is the last event", async (t) => {
  const { timer, startTimer } = manualTimer();
  const { connection, stream } = await openStream(t, { startTimer, form: messageStream });
  timer.silence();
  await connection.until("ping");
  await stream.send({ type: "message_stop", text: "é" });
  await stream.done();
  await connection.closed;
  const ping = 'event: ping\ndata: {"type":"ping"}\n\n';
  t.is(received(connection).body, `${ping}event: message_stop\ndata: {"type":"message_stop","text":"é"}\n\n`);
  const failed = await openStream(t, { startTimer, form: messageStream });
  await failed.stream.fail(new Failure("draining", "bye"));
  await failed.connection.closed;
  const error = '{"type":"error","error":{"type":"overloaded_error","message":"bye","param":null,"code":"draining"}}';
  t.is(received(failed.connection).body, `event: error\ndata: ${error}\n\n`);
});

test("a failure after nothing but a ping is an event", async (t) => {
  const { timer, startTimer } = manualTimer();
  const { connection, stream } = await openStream(t, { startTimer });
  timer.silence();
  await stream.fail(new Failure("draining", "bye"));
  await connection.closed;
  t.is(
    received(connection).body,
    ': ping\n\ndata: {"error":{"message":"bye","type":"server_error","param":null,"code":"draining"}}\n\n',
  );
});

test("a stream that never began leaves the response alone; a late ping changes nothing", async (t) => {
  const { timer, startTimer } = manualTimer();
  const { connection, ctx, stream } = await openStream(t, { startTimer });
  stream.close();
  stream.close();
  timer.silence();
  await new Promise((resolve) => setImmediate(resolve));
  t.false(ctx.res.headersSent);
  ctx.res.end("mine");
  await connection.closed;
  t.is(received(connection).body.includes("ping"), false);
});

test("query parameters that better-sse knows add nothing to the stream", async (t) => {
  const { connection, stream } = await openStream(t, {}, "?padding=1&evs_preamble=1&lastEventId=7");
  await stream.send({ text: "é\u2028\u0000" });
  await stream.done();
  await connection.closed;
  t.is(received(connection).body, 'data: {"text":"é\u2028\\u0000"}\n\ndata: [DONE]\n\n');
});

const megabyte = 2 ** 20;
const event = { text: "x".repeat(64 * 1024) };

/** Sends `count` events and tells how far it got. */
function produce(stream: EventStream, count: number): { sent: number; result: Promise<void> } {
  const progress = { sent: 0, result: Promise.resolve() };
  progress.result = (async () => {
    for (; progress.sent < count; progress.sent++) await stream.send(event);
    await stream.done();
  })();
  return progress;
}

test("a reader that stops reading holds about 1 MiB, and gets everything once it reads on", async (t) => {
  const { connection, ctx, stream } = await openStream(t);
  connection.socket.pause();
  const count = 1024;
  const producer = produce(stream, count);
  await until(() => ctx.res.writableLength >= megabyte);
  const { sent } = producer;
  for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
  t.is(producer.sent, sent, "nothing is taken any more");
  t.true(sent < count / 2);
  t.true(ctx.res.writableLength < 1.2 * megabyte);
  connection.socket.resume();
  await producer.result;
  await connection.closed;
  const { body } = received(connection);
  t.is(body.length, count * `data: ${JSON.stringify(event)}\n\n`.length + "data: [DONE]\n\n".length);
});

test("a reader that leaves while it is waited for ends the producer with the reason", async (t) => {
  const { connection, ctx, stream } = await openStream(t);
  connection.socket.pause();
  const producer = produce(stream, 1024);
  const result = t.throwsAsync(producer.result, { instanceOf: ClientLeft });
  await until(() => ctx.res.writableLength >= megabyte);
  connection.socket.destroy();
  await result;
  t.is(ctx.res.listenerCount("drain"), 0);
  await t.throwsAsync(async () => stream.send(event), { instanceOf: ClientLeft });
  stream.close();
});

test("a slow reader of a real route stops its generation from running on", async (t) => {
  let tokens = 0;
  const text = "x".repeat(64 * 1024);
  const endless = function* (): Generator<MockStep> {
    for (; ; tokens++) yield { text };
  };
  const { server, engine } = await startMockApi(t, { script: endless });
  const connection = open(server.port, "/v1/completions", { prompt: "Hi", stream: true, max_tokens: -1 });
  connection.socket.pause();
  let before = -1;
  await until(async () => {
    const still = before === tokens && tokens > 16;
    before = tokens;
    for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
    return still;
  });
  t.true(tokens < 400);
  t.is(engine.running, 1);
  connection.socket.destroy();
  await until(() => engine.running === 0);
  t.is(engine.ended.aborted, 1);
});

test("an event that may be large has the bytes of any other, and others get their turns while it is written", async (t) => {
  const rows = Array.from({ length: 3000 }, (_, index) => ({ name: `é${index}` }));
  const large = { type: "rows", rows };
  for (const form of [plainStream, messageStream]) {
    const { connection, stream } = await openStream(t, { form });
    await stream.send({ type: "first" });
    const turns = await turnsDuring(async () => stream.send(large, true));
    await stream.send(large);
    stream.close();
    await connection.closed;
    const [, inTurns, atOnce] = received(connection).body.split("\n\n");
    t.true(inTurns!.endsWith(`data: ${JSON.stringify(large)}`));
    t.is(inTurns, atOnce);
    // A slice has 256 rows.
    t.true(turns >= 11, `${turns}`);
  }
});
