import type { ServerResponse } from "node:http";
import { connect } from "node:net";
import test from "ava";
import { countBodyBytes } from "../../src/http/body-bytes.ts";
import { writeChunk } from "../../src/http/short-chunk.ts";
import { serve } from "../helpers/node-server.ts";
import { until } from "../helpers/process.ts";

/** All bytes of the connection, as text. */
async function exchange(port: number, ...requests: string[]): Promise<string> {
  const socket = connect(port, "127.0.0.1");
  socket.write(requests.join(""));
  const pieces: Buffer[] = [];
  for await (const piece of socket) pieces.push(piece);
  return Buffer.concat(pieces).toString();
}

const pieces = ["data: {}\n\n", "é\u4e2d\u{1f600}", "x".repeat(5000), Buffer.from("buffer"), "y".repeat(4096), "end"];
const body = pieces.map(String).join("");

test("pieces of any kind are the body in their order, and are counted", async (t) => {
  let counted = 0;
  const { port } = await serve(t, (_, response) => {
    countBodyBytes(response, (bytes) => {
      counted += bytes;
    });
    response.flushHeaders();
    for (const piece of pieces) writeChunk(response, piece);
    response.end();
  });
  t.is(await (await fetch(`http://127.0.0.1:${port}/`)).text(), body);
  t.is(counted, Buffer.byteLength(body));
});

test("a piece that finds the socket idle goes out as one chunk", async (t) => {
  const { port } = await serve(t, (_, response) => {
    response.flushHeaders();
    setImmediate(() => {
      writeChunk(response, "é");
      response.end();
    });
  });
  const text = await exchange(port, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  t.is(text.slice(text.indexOf("\r\n\r\n") + 4), "2\r\né\r\n0\r\n\r\n");
});

test("HTTP/1.0 gets the body without chunks", async (t) => {
  const { port } = await serve(t, (_, response) => {
    response.flushHeaders();
    for (const piece of pieces) writeChunk(response, piece);
    response.end();
  });
  const text = await exchange(port, "GET / HTTP/1.0\r\n\r\n");
  t.is(text.slice(text.indexOf("\r\n\r\n") + 4), body);
});

test("an answer that waits for the one before it comes after it", async (t) => {
  const waiting: ServerResponse[] = [];
  const { port } = await serve(t, (_, response) => {
    response.flushHeaders();
    waiting.push(response);
    if (waiting.length < 2) return;
    const [first, second] = waiting;
    for (const piece of ["2", "two"]) writeChunk(second!, piece);
    second!.end();
    for (const piece of ["1", "one"]) writeChunk(first!, piece);
    first!.end();
  });
  const request = (last: boolean) => `GET / HTTP/1.1\r\nHost: x\r\n${last ? "Connection: close\r\n" : ""}\r\n`;
  const text = await exchange(port, request(false), request(true));
  const chunks = (...pieces: string[]) =>
    `${pieces.map((piece) => `${piece.length}\r\n${piece}\r\n`).join("")}0\r\n\r\n`;
  const bodies = text.split("HTTP/1.1 200 OK").slice(1);
  t.deepEqual(
    bodies.map((answer) => answer.slice(answer.indexOf("\r\n\r\n") + 4)),
    [chunks("1", "one"), chunks("2", "two")],
  );
});

test("a reader that is behind is seen, and its catching up is told", async (t) => {
  let response: ServerResponse | undefined;
  const { port } = await serve(t, (_, answer) => {
    response = answer;
    answer.flushHeaders();
  });
  const socket = connect(port, "127.0.0.1");
  t.teardown(() => socket.destroy());
  socket.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  socket.pause();
  await until(() => response !== undefined);
  let drained = false;
  response!.on("drain", () => {
    drained = true;
  });
  await until(() => {
    for (let piece = 0; piece < 100; piece++) writeChunk(response!, "x".repeat(4000));
    return response!.writableNeedDrain;
  });
  t.false(drained);
  socket.resume();
  await until(() => drained);
  t.is(response!.writableLength, 0);
});
