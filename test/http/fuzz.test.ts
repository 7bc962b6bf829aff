// 20,000 raw requests over real sockets, proper, flawed and mutated: whatever comes in, the server answers it, with an error that is
// the client's or with a success, and stays in service.
import test from "ava";
import { createMockEngine } from "../../src/engine/mock-engine.ts";
import { HttpFuzz } from "../helpers/http-fuzz.ts";
import { Random } from "../helpers/random.ts";
import { RawConnection } from "../helpers/raw.ts";
import { startServer, testConfig, testKey } from "../helpers/server.ts";

const count = 20_000;
const atOnce = 64;
/** Far beyond the deadlines below. */
const hangMs = 30_000;

const limits = { requestLine: 1024, headerLine: 512, headers: 20, body: 2048 };
const env = {
  MAX_REQUEST_LINE_SIZE: String(limits.requestLine),
  MAX_HEADER_LINE_SIZE: String(limits.headerLine),
  MAX_HEADERS: String(limits.headers),
  MAX_REQUEST_BODY_SIZE: String(limits.body),
  CLIENT_HEADER_TIMEOUT: "0.5",
  CLIENT_BODY_TIMEOUT: "0.5",
};

const statuses = new Set([200, 204, 400, 401, 403, 404, 405, 408, 413, 414, 415, 417, 431]);

type First = { readonly status: number; readonly complete: boolean; readonly problem?: string };

/** The first final answer in what came back so far; undefined while there is none. @param bodyless it answers a HEAD request */
function firstAnswer(received: string, closed: boolean, bodyless: boolean): First | undefined {
  const text = received.replace(/^(HTTP\/1\.1 1\d\d [^\r]*\r\n\r\n)+/, "");
  const end = text.indexOf("\r\n\r\n");
  if (end < 0) return undefined;
  const [, status] = /^HTTP\/1\.1 (\d{3}) /.exec(text) ?? [];
  if (!status) return { status: 0, complete: true, problem: "no status line" };
  if (bodyless) return { status: Number(status), complete: true };
  const head = text.slice(0, end).toLowerCase();
  const body = text.slice(end + 4);
  const length = /\r\ncontent-length: (\d+)/.exec(head)?.[1];
  const chunked = head.includes("\r\ntransfer-encoding: chunked");
  const complete = closed || (chunked ? body.includes("0\r\n\r\n") : body.length >= Number(length ?? 0));
  return { status: Number(status), complete, ...(complete && { problem: problemOf(Number(status), body, length) }) };
}

/** @returns what is wrong with the body of an answer */
function problemOf(status: number, body: string, length: string | undefined): string | undefined {
  if (status < 400) return undefined;
  try {
    const { error } = JSON.parse(body.slice(0, Number(length)));
    return typeof error.code === "string" ? undefined : "no code";
  } catch {
    return "no JSON";
  }
}

/** Sends the bytes, whole or in two pieces, and waits for the first answer. @returns the problem, if there is one */
async function provoke(port: number, bytes: string, pieces: boolean, expected?: number): Promise<string | undefined> {
  const connection = new RawConnection(port);
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    connection.socket.destroy();
  }, hangMs);
  const cut = pieces ? Math.floor(bytes.length / 2) : 0;
  connection.socket.setNoDelay(true);
  if (cut > 0) connection.socket.write(bytes.slice(0, cut), "latin1");
  connection.socket.write(bytes.slice(cut), "latin1");
  const bodyless = /^(\r\n)*HEAD /.test(bytes);
  await connection.change(
    () => firstAnswer(connection.received, connection.socket.closed, bodyless)?.complete === true,
  );
  clearTimeout(timer);
  connection.socket.destroy();
  const answer = firstAnswer(connection.received, true, bodyless);
  if (late) return "hangs";
  if (!answer) return "empty reply";
  if (answer.problem) return answer.problem;
  if (expected !== undefined && answer.status !== expected) return `${answer.status} instead of ${expected}`;
  return statuses.has(answer.status) ? undefined : `status ${answer.status}`;
}

test(`${count} raw requests: never a crash, a hang, an empty reply or a 500`, async (t) => {
  t.timeout(600_000);
  const seed = Date.now() % 2 ** 32;
  const engine = createMockEngine({ maxConcurrentRequests: 16 });
  const server = await startServer({ engine: () => engine, config: testConfig(env) });
  t.teardown(server.close);
  const random = new Random(seed);
  const fuzz = new HttpFuzz(random, testKey, limits);
  const problems: string[] = [];
  let left = count;
  const work = async () => {
    while (left > 0 && problems.length < 5) {
      left -= 1;
      const { kind, bytes, status } = fuzz.next();
      const problem = await provoke(server.port, bytes, random.chance(0.2), status);
      if (problem) problems.push(`${problem} (${kind}, seed ${seed}): ${JSON.stringify(bytes.slice(0, 2000))}`);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  t.deepEqual(problems, []);
  t.is((await fetch(`${server.url}/ping`)).status, 200);
});
