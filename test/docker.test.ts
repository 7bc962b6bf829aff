// What of the images can be held without Docker: the rules of their files, and the health check as it stands there.
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import test from "ava";
import { packageRoot } from "../src/paths.ts";

const read = (name: string) => readFileSync(join(packageRoot, name), "utf8");
const dockerfile = read("Dockerfile.cuda");
const healthCommand: string[] = JSON.parse(/^HEALTHCHECK .* CMD (\[.*\])$/m.exec(dockerfile)![1]!);

/** Runs the image's health check. @returns its exit code */
async function checkHealth(env: Record<string, string>): Promise<number> {
  const [command, ...args] = healthCommand;
  const run = promisify(execFile)(command!, args, { env: { PATH: process.env.PATH, ...env } });
  return run.then(
    () => 0,
    (error: { code: number }) => error.code,
  );
}

async function withHealthPort(status: number, use: (port: number) => Promise<void>): Promise<void> {
  const server = createServer((request, response) => response.writeHead(request.url === "/livez" ? status : 404).end());
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    await use((server.address() as AddressInfo).port);
  } finally {
    server.close();
  }
}

test("the health check passes while /livez answers 200, whatever wildcard HOST is", async (t) => {
  await withHealthPort(200, async (port) => {
    for (const HOST of ["", "0.0.0.0", "127.0.0.1", " "]) {
      t.is(await checkHealth({ HOST, PORT_HEALTH: String(port) }), 0, `HOST='${HOST}'`);
    }
  });
});

test("the health check fails when /livez says 503, and when nobody listens", async (t) => {
  let closedPort = 0;
  await withHealthPort(503, async (port) => {
    closedPort = port;
    t.is(await checkHealth({ PORT_HEALTH: String(port) }), 1);
  });
  t.is(await checkHealth({ PORT_HEALTH: String(closedPort) }), 1);
});

test("both images run as a numeric user, with node as process 1 and the ports of the contract", (t) => {
  const stages = dockerfile.split(/^FROM /m);
  for (const name of ["cpu", "cuda"]) {
    const stage = stages.find((text) => text.startsWith(`base AS ${name}\n`));
    t.regex(stage!, new RegExp(`^ENV .*GPU=${name}`, "m"));
    t.regex(stage!, /\nUSER 10001:10001\s*$/);
  }
  t.regex(dockerfile, /^ENTRYPOINT \["node", "\/app\/dist\/src\/cli\/llama-gguf\.js"\]\nCMD \["start"\]$/m);
  t.regex(dockerfile, /^EXPOSE 8000 8001$/m);
  t.notRegex(dockerfile, /:latest\b|^ENV .*DATA_DIR/m);
});

test("keys, logs, settings and tests cannot enter the build", (t) => {
  const [first, ...rest] = read(".dockerignore")
    .split("\n")
    .filter((line) => line && !line.startsWith("#"));
  t.is(first, "*");
  t.deepEqual(
    rest.filter((line) => /test|\.env|data|log|keys/.test(line)),
    [],
  );
});

test("every file that the Dockerfile copies from the build context is let into it", (t) => {
  const allowed = read(".dockerignore").match(/(?<=^!).+$/gm)!;
  const copied = [...dockerfile.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap((match) => match[1]!.split(" "));
  t.deepEqual(
    copied.filter((path) => !allowed.some((entry) => path === entry || path.startsWith(`${entry}/`))),
    [],
  );
});
