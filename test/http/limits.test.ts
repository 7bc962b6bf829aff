// Every limit on a head, exactly at its edge and one past it, on the wire.
import test from "ava";
import { exchange } from "../helpers/raw.ts";
import { startServer, testConfig } from "../helpers/server.ts";

const lineBytes = 300;

async function statusOf(env: Record<string, string>, lines: string[]): Promise<number> {
  const server = await startServer({ config: testConfig(env) });
  try {
    return (await exchange(server.port, [...lines, "", ""].join("\r\n"))).status;
  } finally {
    await server.close();
  }
}

function requestLine(bytes: number): string {
  const rest = "GET /ping? HTTP/1.1\r\n".length;
  return `GET /ping?${"x".repeat(bytes - rest)} HTTP/1.1`;
}

function headerLine(bytes: number): string {
  return `a: ${"x".repeat(bytes - "a: \r\n".length)}`;
}

test("a request line of exactly MAX_REQUEST_LINE_SIZE bytes passes, one more is 414", async (t) => {
  const env = { MAX_REQUEST_LINE_SIZE: String(lineBytes) };
  t.is(await statusOf(env, [requestLine(lineBytes), "Host: x", "Connection: close"]), 204);
  t.is(await statusOf(env, [requestLine(lineBytes + 1), "Host: x"]), 414);
});

test("a header line of exactly MAX_HEADER_LINE_SIZE bytes passes, one more is 431", async (t) => {
  const env = { MAX_HEADER_LINE_SIZE: String(lineBytes) };
  const start = ["GET /ping HTTP/1.1", "Host: x", "Connection: close"];
  t.is(await statusOf(env, [...start, headerLine(lineBytes)]), 204);
  t.is(await statusOf(env, [...start, headerLine(lineBytes + 1)]), 431);
});

test("header bytes count, not characters", async (t) => {
  const value = "ä".repeat((lineBytes - "a: \r\n".length + 1) / 2);
  const start = ["GET /ping HTTP/1.1", "Host: x", "Connection: close"];
  t.is(await statusOf({ MAX_HEADER_LINE_SIZE: String(lineBytes) }, [...start, `a: ${value}`]), 431);
});

test("exactly MAX_HEADERS header lines pass, one more is 431, also when all have one name", async (t) => {
  const env = { MAX_HEADERS: "8" };
  const start = ["GET /ping HTTP/1.1", "Host: x", "Connection: close"];
  const lines = (count: number) => Array.from({ length: count }, () => "a: b");
  t.is(await statusOf(env, [...start, ...lines(6)]), 204);
  t.is(await statusOf(env, [...start, ...lines(7)]), 431);
});

test("the largest limits an operator can set leave room for a head that is within them", async (t) => {
  const env = { MAX_REQUEST_LINE_SIZE: "65536", MAX_HEADER_LINE_SIZE: "65536" };
  t.is(await statusOf(env, [requestLine(65_536), "Host: x", "Connection: close", headerLine(65_536)]), 204);
});
