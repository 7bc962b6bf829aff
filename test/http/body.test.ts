// A body is read within its bounds, over real connections: size declared or counted, time, encoding, who may send one at all.
import test from "ava";
import type { Route } from "../../src/api/routes.ts";
import { Heartbeat } from "../../src/health/heartbeat.ts";
import { readJsonObject } from "../../src/http/body.ts";
import { exchange, head, RawConnection } from "../helpers/raw.ts";
import { startServer, type TestServer, testConfig, testKey } from "../helpers/server.ts";

const authorization = `Authorization: Bearer ${testKey}`;
const megabyte = 2 ** 20;

/** Answers with the names in the body it was sent. */
const echo: Route = {
  method: "POST",
  path: "/echo",
  class: "key",
  handler: async (ctx, { config }) => {
    ctx.body = Object.keys(await readJsonObject(ctx, config));
  },
};

async function startEcho(env: Record<string, string> = {}): Promise<TestServer> {
  const heartbeat = new Heartbeat();
  heartbeat.state = "ready";
  return startServer({ heartbeat, config: testConfig(env) }, [echo]);
}

function post(...lines: string[]): string {
  return head("POST /echo HTTP/1.1", ...lines);
}

function codeOf(body: string): string {
  return JSON.parse(body).error.code;
}

test("a body of exactly the limit passes; one byte more is 413 unread when declared, 413 when counted", async (t) => {
  const server = await startEcho({ MAX_REQUEST_BODY_SIZE: "1024" });
  t.teardown(server.close);
  const body = (bytes: number) => JSON.stringify({ a: "x".repeat(bytes - '{"a":""}'.length) });
  const chunked = (text: string) => `${text.length.toString(16)}\r\n${text}\r\n0\r\n\r\n`;
  const send = (lines: string[], payload: string) =>
    exchange(server.port, post(authorization, "Connection: close", ...lines) + payload);
  t.is((await send(["Content-Length: 1024"], body(1024))).body, '["a"]');
  t.is((await send(["Transfer-Encoding: chunked"], chunked(body(1024)))).body, '["a"]');
  const declared = await exchange(server.port, post(authorization, "Content-Length: 1025"));
  t.is(declared.status, 413);
  t.is(codeOf(declared.body), "payload_too_large");
  t.is(declared.headers.connection, "close");
  const counted = await send(["Transfer-Encoding: chunked"], chunked(body(1025)));
  t.is(counted.status, 413);
  t.is(codeOf(counted.body), "payload_too_large");
});

test("11 MB: 401 without a key, 413 with one, 413 when chunked; each answer arrives and the connection is not reset", async (t) => {
  const server = await startEcho();
  t.teardown(server.close);
  const upload = async (lines: string[], frame: (piece: Buffer) => (string | Buffer)[]) => {
    const connection = new RawConnection(server.port);
    connection.write(post(...lines));
    const piece = Buffer.alloc(megabyte, 0x20);
    for (let sent = 0; sent < 11; sent++) for (const bytes of frame(piece)) connection.write(bytes);
    await connection.closed;
    const answers = connection.answers();
    t.is(answers.length, 1);
    t.is(answers[0]!.headers.connection, "close");
    return answers[0]!;
  };
  const length = `Content-Length: ${11 * megabyte}`;
  const plain = (piece: Buffer) => [piece];
  const chunk = (piece: Buffer) => [`${piece.length.toString(16)}\r\n`, piece, "\r\n"];
  t.is((await upload([length], plain)).status, 401);
  t.is((await upload([authorization, length], plain)).status, 413);
  t.is((await upload([authorization, "Transfer-Encoding: chunked"], chunk)).status, 413);
});

test("an anonymous body is refused before its first byte, and so is one that waits for 100-continue", async (t) => {
  const server = await startEcho();
  t.teardown(server.close);
  for (const lines of [[], ["Expect: 100-continue"]]) {
    const answer = await exchange(server.port, post("Content-Length: 1000", ...lines));
    t.is(answer.status, 401);
    t.is(answer.headers.connection, "close");
  }
});

test("a client that waits for 100-continue is told to go on once nothing else stands in its way", async (t) => {
  const server = await startEcho();
  t.teardown(server.close);
  const connection = new RawConnection(server.port);
  connection.write(post(authorization, "Content-Length: 7", "Expect: 100-continue", "Connection: close"));
  await connection.until("HTTP/1.1 100 Continue\r\n\r\n");
  connection.write('{"b":1}');
  await connection.closed;
  const [, answer] = connection.answers();
  t.is(answer?.body, '["b"]');
});

test("a body with any Content-Encoding is 415 unread", async (t) => {
  const server = await startEcho();
  t.teardown(server.close);
  for (const encoding of ["gzip", "identity"]) {
    const answer = await exchange(
      server.port,
      post(authorization, "Content-Length: 9", `Content-Encoding: ${encoding}`),
    );
    t.is(answer.status, 415);
    t.is(codeOf(answer.body), "unsupported_media_type");
    t.is(answer.headers.connection, "close");
  }
});

test("a body that stalls, or drips, past CLIENT_BODY_TIMEOUT is 408 and its connection ends", async (t) => {
  const server = await startEcho({ CLIENT_BODY_TIMEOUT: "0.2" });
  t.teardown(server.close);
  for (const dripEveryMs of [0, 20]) {
    const connection = new RawConnection(server.port);
    connection.write(`${post(authorization, "Content-Length: 1000")}{`);
    const drip = dripEveryMs > 0 ? setInterval(() => connection.write(" "), dripEveryMs) : undefined;
    await connection.until("}}");
    clearInterval(drip);
    await connection.closed;
    const [answer] = connection.answers();
    t.is(answer?.status, 408);
    t.is(codeOf(answer!.body), "request_timeout");
    t.is(answer?.headers.connection, "close");
  }
});

test("a chunk that turns out malformed while the body is read is 400", async (t) => {
  const server = await startEcho();
  t.teardown(server.close);
  const connection = new RawConnection(server.port);
  connection.write(post(authorization, "Transfer-Encoding: chunked", "Expect: 100-continue"));
  await connection.until("100 Continue\r\n\r\n");
  connection.write("5\r\n{    \r\n");
  connection.write("zz\r\n");
  await connection.closed;
  const [, answer] = connection.answers();
  t.is(answer?.status, 400);
  t.is(codeOf(answer!.body), "bad_request");
});

test("a client that leaves within its body ends the call", async (t) => {
  const server = await startEcho();
  t.teardown(server.close);
  const { heartbeat } = server.parts;
  const connection = new RawConnection(server.port);
  connection.write(post(authorization, "Content-Length: 1000", "Expect: 100-continue"));
  await connection.until("100 Continue");
  t.is(heartbeat.idleSeconds(Number.MAX_SAFE_INTEGER), 0, "a call is open");
  connection.socket.resetAndDestroy();
  await connection.closed;
  while (heartbeat.idleSeconds(Number.MAX_SAFE_INTEGER) === 0) await new Promise(setImmediate);
  t.is((await fetch(`${server.url}/nothing`)).status, 401);
});

test("the type a body claims to have is not judged", async (t) => {
  const server = await startEcho();
  t.teardown(server.close);
  for (const type of ["text/plain", "application/x-www-form-urlencoded"]) {
    const answer = await fetch(`${server.url}/echo`, {
      method: "POST",
      headers: { "Content-Type": type, "x-api-key": testKey },
      body: '{"c":1}',
    });
    t.deepEqual(await answer.json(), ["c"]);
  }
});

test("a refused body that was read to its end leaves the connection open", async (t) => {
  const server = await startEcho();
  t.teardown(server.close);
  const connection = new RawConnection(server.port);
  connection.write(`${post(authorization, "Content-Length: 2")}[]`);
  await connection.until("}}");
  connection.write(`${post(authorization, "Content-Length: 2", "Connection: close")}{}`);
  await connection.closed;
  t.deepEqual(
    connection.answers().map(({ status }) => status),
    [400, 200],
  );
});
