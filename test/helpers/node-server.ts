// A server of Node's own, for what is tried without this program's.
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { ExecutionContext } from "ava";

/** Listens on 127.0.0.1 until the test is over. */
export async function serve(t: ExecutionContext, answer: RequestListener): Promise<{ server: Server; port: number }> {
  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.teardown(() => server.close());
  return { server, port: (server.address() as AddressInfo).port };
}
