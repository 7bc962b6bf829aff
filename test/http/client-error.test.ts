// What comes in over a bare socket and is no proper request gets JSON, the right status and a closed connection, never silence.
import test from "ava";
import { Heartbeat } from "../../src/health/heartbeat.ts";
import { createHttpServer } from "../../src/http/client-error.ts";
import { silentLog } from "../../src/telemetry/log.ts";
import { exchange, head, type RawAnswer, RawConnection } from "../helpers/raw.ts";
import { startServer, testConfig, testKey } from "../helpers/server.ts";

const authorization = `Authorization: Bearer ${testKey}`;

type Refusal = { name: string; send: string; status: number; code: string };

const refusals: Refusal[] = [
  { name: "a one-word request line", send: "HELLO\r\n\r\n", status: 400, code: "bad_request" },
  { name: "an unknown method", send: head("FROB / HTTP/1.1"), status: 400, code: "bad_request" },
  { name: "a TLS greeting", send: "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", status: 400, code: "bad_request" },
  { name: "HTTP/2 without upgrade", send: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", status: 400, code: "bad_request" },
  {
    name: "the method of HTTP/2's greeting alone",
    send: "PRI /x\r\nHost: x\r\n\r\n",
    status: 400,
    code: "bad_request",
  },
  {
    name: "a negative Content-Length",
    send: head("POST /v1/models HTTP/1.1", "Content-Length: -1"),
    status: 400,
    code: "bad_request",
  },
  {
    name: "two Content-Lengths",
    send: head("POST /v1/models HTTP/1.1", "Content-Length: 1", "Content-Length: 2"),
    status: 400,
    code: "bad_request",
  },
  {
    name: "Content-Length with Transfer-Encoding",
    send: `${head("POST /v1/models HTTP/1.1", "Content-Length: 5", "Transfer-Encoding: chunked")}0\r\n\r\n`,
    status: 400,
    code: "bad_request",
  },
  {
    name: "a Transfer-Encoding that does not end in chunked",
    send: head("POST /v1/models HTTP/1.1", "Transfer-Encoding: gzip"),
    status: 400,
    code: "bad_request",
  },
  { name: "a header without a colon", send: head("GET /ping HTTP/1.1", "nonsense"), status: 400, code: "bad_request" },
  { name: "a NUL in a header", send: head("GET /ping HTTP/1.1", "a: b\0c"), status: 400, code: "bad_request" },
  { name: "no Host", send: "GET /ping HTTP/1.1\r\n\r\n", status: 400, code: "bad_request" },
  { name: "two Hosts", send: head("GET /ping HTTP/1.1", "Host: y"), status: 400, code: "bad_request" },
  { name: "CONNECT", send: head("CONNECT example.org:443 HTTP/1.1"), status: 400, code: "bad_request" },
  { name: "Expect: x", send: head("GET /ping HTTP/1.1", "Expect: x"), status: 417, code: "expectation_failed" },
  { name: "a 20 KB URL", send: head(`GET /${"x".repeat(20_000)} HTTP/1.1`), status: 414, code: "uri_too_long" },
  {
    name: "a 9 KB header line",
    send: head("GET /ping HTTP/1.1", `a: ${"x".repeat(9000)}`),
    status: 431,
    code: "header_fields_too_large",
  },
  {
    name: "a 65th header line",
    send: head("GET /ping HTTP/1.1", ...Array.from({ length: 64 }, (_, i) => `h${i}: x`)),
    status: 431,
    code: "header_fields_too_large",
  },
  {
    name: "3000 header lines",
    send: head("GET /ping HTTP/1.1", ...Array.from({ length: 3000 }, (_, i) => `h${i}: x`)),
    status: 431,
    code: "header_fields_too_large",
  },
  {
    name: "a head beyond everything",
    send: head("GET /ping HTTP/1.1", `a: ${"x".repeat(300_000)}`),
    status: 431,
    code: "header_fields_too_large",
  },
  {
    name: "a malformed chunk",
    send: `${head("POST /v1/models HTTP/1.1", authorization, "Transfer-Encoding: chunked")}zz\r\n`,
    status: 400,
    code: "bad_request",
  },
];

function assertRefusal(t: import("ava").ExecutionContext, answer: RawAnswer, status: number, code: string): void {
  t.is(answer.status, status);
  t.is(answer.headers["content-type"], "application/json; charset=utf-8");
  t.is(answer.headers.connection, "close");
  t.regex(answer.headers["x-request-id"] ?? "", /^req_[0-9a-f]{32}$/);
  t.is(answer.headers.server, undefined);
  const { error } = JSON.parse(answer.body);
  t.deepEqual(Object.keys(error), ["message", "type", "param", "code"]);
  t.is(error.type, "invalid_request_error");
  t.is(error.code, code);
  t.is(error.param, null);
}

for (const { name, send, status, code } of refusals) {
  test(`${name} is answered ${status} ${code} in JSON, and the connection ends`, async (t) => {
    const server = await startServer();
    t.teardown(server.close);
    assertRefusal(t, await exchange(server.port, Buffer.from(send, "latin1")), status, code);
  });
}

test("a head that is dripped past CLIENT_HEADER_TIMEOUT is answered 408", async (t) => {
  const server = await startServer({ config: testConfig({ CLIENT_HEADER_TIMEOUT: "0.2" }) });
  t.teardown(server.close);
  const connection = new RawConnection(server.port);
  const drip = setInterval(() => connection.write("x"), 50);
  t.teardown(() => clearInterval(drip));
  connection.write("GET /ping HTTP/1.1\r\nHost: x\r\na: ");
  await connection.until("}");
  clearInterval(drip);
  await connection.closed;
  const [answer] = connection.answers();
  assertRefusal(t, answer!, 408, "request_timeout");
  t.true(JSON.parse(answer!.body).error.message.includes("0.2s"));
});

test("a head has CLIENT_HEADER_TIMEOUT in all", (t) => {
  const watch = { unreadable: () => {}, malformedBody: () => {} };
  const config = testConfig({ CLIENT_HEADER_TIMEOUT: "1.5" });
  const server = createHttpServer(() => {}, config, silentLog(), watch);
  t.is(server.headersTimeout, 1500);
  t.is(server.requestTimeout, 0, "the time for a body is not Node's business");
  t.is(createHttpServer(() => {}, testConfig(), silentLog(), watch).headersTimeout, 30_000);
});

test("a connection that says nothing is told 408 after CLIENT_HEADER_TIMEOUT", async (t) => {
  const server = await startServer({ config: testConfig({ CLIENT_HEADER_TIMEOUT: "0.2" }) });
  t.teardown(server.close);
  assertRefusal(t, await exchange(server.port, ""), 408, "request_timeout");
});

test("a head that the client cuts off is answered 400", async (t) => {
  const server = await startServer();
  t.teardown(server.close);
  const connection = new RawConnection(server.port);
  connection.socket.allowHalfOpen = true;
  connection.socket.end("GET /ping HTTP/1.1\r\nHo");
  await connection.until("}");
  connection.socket.destroy();
  assertRefusal(t, connection.answers()[0]!, 400, "bad_request");
});

test("nonsense behind a request is answered after that request, in order", async (t) => {
  let release = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  const heartbeat = new Heartbeat();
  heartbeat.state = "ready";
  let entered = () => {};
  const inHandler = new Promise<void>((resolve) => {
    entered = resolve;
  });
  const server = await startServer({ heartbeat }, [
    {
      method: "GET",
      path: "/slow",
      class: "public",
      handler: async (ctx) => {
        entered();
        await released;
        ctx.body = { slow: true };
      },
    },
  ]);
  t.teardown(server.close);
  const connection = new RawConnection(server.port);
  connection.write(`${head("GET /slow HTTP/1.1")}NONSENSE\r\n\r\n`);
  await inHandler;
  release();
  await connection.closed;
  const [first, second] = connection.answers();
  t.is(first?.body, '{"slow":true}');
  assertRefusal(t, second!, 400, "bad_request");
});

test("what a client sends behind a malformed head does not bring a second answer or a reset", async (t) => {
  const server = await startServer();
  t.teardown(server.close);
  const connection = new RawConnection(server.port);
  connection.write("HELLO\r\n\r\n");
  for (let i = 0; i < 20; i++) connection.write("x".repeat(10_000));
  await connection.closed;
  t.is(connection.answers().length, 1);
});

test("HTTP/1.0 needs no Host, and an absolute target counts by its path", async (t) => {
  const server = await startServer();
  t.teardown(server.close);
  t.is((await exchange(server.port, "GET /ping HTTP/1.0\r\n\r\n")).status, 204);
  t.is((await exchange(server.port, head("GET http://x/ping?y HTTP/1.1", "Connection: close"))).status, 204);
});

test("a client that resets its connection leaves the server in service", async (t) => {
  const server = await startServer();
  t.teardown(server.close);
  const connection = new RawConnection(server.port);
  connection.write("GET /ping HTTP/1.1\r\n");
  connection.socket.resetAndDestroy();
  await connection.closed;
  t.is((await fetch(`${server.url}/ping`)).status, 204);
});

test("100 idle connections leave the service intact", async (t) => {
  const server = await startServer();
  const idle = Array.from({ length: 100 }, () => new RawConnection(server.port));
  t.teardown(async () => {
    for (const { socket } of idle) socket.destroy();
    await server.close();
  });
  await Promise.all(idle.map(({ socket }) => new Promise((resolve) => socket.once("connect", resolve))));
  const answers = await Promise.all(Array.from({ length: 8 }, () => fetch(`${server.url}/health`)));
  t.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]));
});
