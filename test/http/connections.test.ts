// The bound on open connections: who comes too late is told so, and gets in again once somebody has left.
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import test from "ava";
import type { Failure } from "../../src/errors.ts";
import { endAndLinger } from "../../src/http/close.ts";
import { limitConnections } from "../../src/http/connections.ts";
import { until } from "../helpers/process.ts";
import { exchange, head, RawConnection } from "../helpers/raw.ts";

test("connections beyond the limit are refused in JSON, and served again when there is room", async (t) => {
  const server = createServer((_request, response) => response.end("served"));
  const refused: Failure[] = [];
  limitConnections(
    server,
    (socket, failure) => {
      refused.push(failure);
      endAndLinger(socket, `HTTP/1.1 ${failure.status} x\r\nContent-Length: 0\r\n\r\n`);
    },
    3,
  );
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.teardown(() => {
    server.close();
    server.closeAllConnections();
  });
  const { port } = server.address() as AddressInfo;
  const ask = head("GET / HTTP/1.1", "Connection: close");
  const idle = Array.from({ length: 3 }, () => new RawConnection(port));
  await Promise.all(idle.map(({ socket }) => new Promise((resolve) => socket.once("connect", resolve))));
  t.is((await exchange(port, ask)).status, 503);
  t.is(refused[0]?.kind, "queue_full");
  t.is(refused[0]?.headers["Retry-After"], "5");
  idle[0]!.socket.destroy();
  await until(async () => (await exchange(port, ask)).body === "served");
  // The other two were there first and are served as if nothing had been.
  for (const connection of idle.slice(1)) {
    connection.write(ask);
    await connection.closed;
    t.is(connection.answers()[0]?.body, "served");
  }
});

test("far beyond the limit, connections are closed without a word", async (t) => {
  const server = createServer();
  const held: { end: () => void }[] = [];
  limitConnections(server, (socket) => void held.push(socket), 1);
  t.is(server.maxConnections, 257);
  server.maxConnections = 2;
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.teardown(() => {
    server.close();
    server.closeAllConnections();
    for (const socket of held) socket.end();
  });
  const { port } = server.address() as AddressInfo;
  const [first, second] = [new RawConnection(port), new RawConnection(port)];
  t.teardown(() => {
    first.socket.destroy();
    second.socket.destroy();
  });
  await until(() => held.length === 1);
  const third = new RawConnection(port);
  await third.closed.catch(() => {});
  t.is(third.received, "");
});
