// The whole route table, walked by somebody without a key and with a wrong one: every method, every spelling of a path that a server
// might take for the route, over raw sockets. Whatever is not marked public is 401, so that nobody learns what exists.
import test from "ava";
import { routes } from "../src/api/routes.ts";
import { Heartbeat } from "../src/health/heartbeat.ts";
import { RawConnection } from "./helpers/raw.ts";
import { startServer, testKey } from "./helpers/server.ts";

const methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"];

const wrongCredentials = [
  [],
  ["Authorization: Bearer sk-wrong-0123456789abcdef"],
  ["Authorization:"],
  [`Authorization: Bearer ${testKey}x`],
  [`Authorization: Bearer ${testKey.slice(0, -1)}`],
  [`Authorization: Basic ${Buffer.from(`test:${testKey}`).toString("base64")}`],
  ["x-api-key: sk-wrong-0123456789abcdef"],
  // Authorization alone is judged when it is there.
  ["Authorization: Bearer sk-wrong-0123456789abcdef", `x-api-key: ${testKey}`],
  // Headers that other servers trust.
  ["X-Original-URL: /ping", "X-Rewrite-URL: /ping", "X-Forwarded-For: 127.0.0.1", "X-HTTP-Method-Override: OPTIONS"],
  [`Cookie: api_key=${testKey}`],
];

/** Spellings of a path as the request line may have them. All are closed unless the path itself is public. */
const spellings: ((path: string) => string)[] = [
  (path) => path,
  (path) => `${path}/`,
  (path) => `${path}?key=${testKey}`,
  (path) => `${path}/?x=/ping`,
  (path) => `http://127.0.0.1${path}`,
  (path) => `HTTP://user@elsewhere:99${path}?x`,
  (path) => `https://ping${path}`,
];

/** With every slash but the first written otherwise: a target that begins otherwise is no HTTP. */
const inner = (path: string, from: string, to: string): string => path[0] + path.slice(1).replaceAll(from, to);

/** Spellings that are no public path even when the path itself is public. */
const oddSpellings: ((path: string) => string)[] = [
  (path) => `/${path}`,
  (path) => `//${path}`,
  (path) => `${path}//`,
  (path) => `/.${path}`,
  (path) => `/x/..${path}`,
  (path) => `/ping/..${path}`,
  (path) => `${path}/.`,
  (path) => `${path};x=1`,
  (path) => `${path}%00`,
  (path) => `${path}%20`,
  (path) => path.replace(/[a-z]/g, (letter) => letter.toUpperCase()),
  (path) => path.replace(/^\/./, (start) => start.toUpperCase()),
  (path) => inner(path, "/", "%2f"),
  (path) => inner(path, "/", "%2F"),
  (path) => inner(path, "/", "%252F"),
  (path) => `/%2f${path.slice(1)}`,
  (path) => `/%2F..${path}`,
  (path) => `${path}%2f`,
  (path) => path.replace(/[a-z]/, (letter) => `%${letter.charCodeAt(0).toString(16)}`),
  (path) => inner(path, "/", "\\"),
  (path) => `/\\${path.slice(1)}`,
  (path) => `http://127.0.0.1/${path}`,
  (path) => `http://127.0.0.1${path}//`,
  (path) => `http://127.0.0.1/%2e${path}`,
  (path) => `ftp://127.0.0.1${path}`,
  (path) => `/http://127.0.0.1${path}`,
];

/** One request per method over one connection. @returns the statuses, in order */
async function statuses(port: number, target: string, credential: readonly string[]): Promise<number[]> {
  const connection = new RawConnection(port);
  const requests = methods.map((method, index) => {
    const close = index === methods.length - 1 ? ["Connection: close"] : [];
    return [`${method} ${target} HTTP/1.1`, "Host: x", ...credential, ...close, "", ""].join("\r\n");
  });
  connection.write(requests.join(""));
  await connection.closed;
  return [...connection.received.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status));
}

const concrete = (path: string): string => path.replace("*", "some-id");
const isPublic = (path: string): boolean => routes.every((route) => route.path !== path || route.class === "public");
const publicPaths = [...new Set(routes.map(({ path }) => path))].filter(isPublic);
const closedPaths = [...new Set(routes.map(({ path }) => path))].filter((path) => !isPublic(path));

test("the public paths are the probes, and nothing else became one by accident", (t) => {
  t.deepEqual(
    publicPaths.filter((path) => path !== "/metrics"),
    ["/", "/api/hello", "/ping", "/health"],
  );
  t.true(closedPaths.includes("/reload") && closedPaths.includes("/v1/models/*"));
});

for (const state of ["loading", "ready", "draining", "error"] as const) {
  test.serial(
    `in state ${state} every closed path is 401, for every method, spelling and wrong credential`,
    async (t) => {
      const heartbeat = new Heartbeat();
      heartbeat.state = state;
      const server = await startServer({ heartbeat });
      t.teardown(server.close);
      const refused = methods.map(() => 401);
      // What stands before the route is the same in every state, so only one of them gets the whole list of credentials.
      const credentials = state === "ready" ? wrongCredentials : wrongCredentials.slice(0, 2);
      for (const path of [...closedPaths, "/nothing", "/v1", "/v1/chat", "/admin"].map(concrete)) {
        for (const spelling of [...spellings, ...oddSpellings]) {
          for (const credential of credentials) {
            const target = spelling(path);
            t.deepEqual(await statuses(server.port, target, credential), refused, `${target} with ${credential}`);
          }
        }
      }
    },
  );
}

test("an odd spelling of a public path is no public path", async (t) => {
  const heartbeat = new Heartbeat();
  heartbeat.state = "ready";
  const server = await startServer({ heartbeat });
  t.teardown(server.close);
  const refused = methods.map(() => 401);
  for (const path of publicPaths.filter((name) => name !== "/")) {
    for (const spelling of oddSpellings) {
      const target = spelling(path);
      if (target === path) continue; // There was nothing to spell otherwise.
      t.deepEqual(await statuses(server.port, target, []), refused, target);
    }
  }
});

test("a public path lets everybody in, and through no other method than its own", async (t) => {
  const heartbeat = new Heartbeat();
  heartbeat.state = "ready";
  const server = await startServer({ heartbeat });
  t.teardown(server.close);
  const expected = methods.map((method) => (method === "GET" || method === "HEAD" ? 200 : 405));
  for (const path of publicPaths) {
    for (const spelling of spellings.filter((spell) => path !== "/" || !spell(path).includes("//"))) {
      t.deepEqual(await statuses(server.port, spelling(path), []), expected, spelling(path));
    }
  }
});
