// Random bodies for every route that takes one, made from the schemas in the OpenAPI document: each is answered or refused as the
// caller's mistake, and nothing is left running. BODY_FUZZ says how many; 20000 take some minutes.
import { Agent, request } from "node:http";
import test, { type ExecutionContext } from "ava";
import { createDocument } from "../../src/api/openapi/document.ts";
import { operations } from "../../src/api/openapi/operations.ts";
import type { MockStep } from "../../src/engine/mock-engine.ts";
import { BodyFuzz } from "../helpers/body-fuzz.ts";
import { startMockApi } from "../helpers/mock-api.ts";
import { Random } from "../helpers/random.ts";
import { withKey } from "../helpers/server.ts";

const count = Number(process.env.BODY_FUZZ ?? 500);
const parallel = 8;

// biome-ignore lint/suspicious/noExplicitAny: a wrong guess fails the test that made it
type Json = any;
type Answer = { readonly status: number; readonly text: string };

const document: Json = createDocument(operations, "0");
const agent = new Agent({ keepAlive: true, maxSockets: parallel });

function post(url: string, body: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const headers = { ...withKey, "Content-Length": Buffer.byteLength(body) };
    const call = request(url, { method: "POST", agent, headers }, (answer) => {
      let text = "";
      answer.setEncoding("utf8");
      answer.on("data", (piece: string) => {
        text += piece;
      });
      answer.on("end", () => resolve({ status: answer.statusCode ?? 0, text })).on("error", reject);
    });
    call.on("error", reject).end(body);
  });
}

/** What is wrong with the answer, or undefined. */
function problem({ status, text }: Answer): string | undefined {
  if (status === 200) return text === "" ? "an empty answer" : undefined;
  if (status < 400 || status > 499) return `status ${status}: ${text}`;
  const { error } = JSON.parse(text);
  if (typeof error.code !== "string" || typeof error.message !== "string") return `no error object: ${text}`;
  if (status === 400 && error.code !== "invalid_json" && !error.param) return `no param: ${text}`;
  return error.message.length > 500 ? `a message of ${error.message.length} characters` : undefined;
}

const script = (): MockStep[] => [
  { text: "Hm", kind: "reasoning" },
  { text: "Hi" },
  { call: 0, name: "f", arguments: "{}" },
];
/** Routes whose answers have one part. */
const textOnly: ReadonlySet<string> = new Set(["/v1/completions", "/infill"]);
const plain = (): MockStep[] => [{ text: "Hi" }, { text: " you" }];

async function fuzz(t: ExecutionContext, path: string, schema: Json): Promise<void> {
  const { engine, server } = await startMockApi(t, { script: textOnly.has(path) ? plain : script, fim: true });
  const bodies = new BodyFuzz(new Random(path.length), schema);
  const statuses = new Map<number, number>();
  let left = count;
  const work = async () => {
    while (left-- > 0) {
      const body = bodies.next();
      const answer = await post(`${server.url}${path}`, body);
      statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1);
      const wrong = problem(answer);
      if (wrong) t.fail(`${wrong}\n  for ${body.slice(0, 2000)}`);
    }
  };
  await Promise.all(Array.from({ length: parallel }, work));
  t.is(engine.running, 0);
  t.is(engine.waiting, 0);
  t.true((statuses.get(200) ?? 0) > count / 100, "too few bodies are right to say anything");
  t.log(path, Object.fromEntries(statuses));
}

test.after.always(() => agent.destroy());

for (const { method, path, request: schema } of operations) {
  if (method !== "POST" || !schema) continue;
  const { requestBody } = document.paths[path].post;
  test.serial(`${path} answers or refuses ${count} random bodies`, (t) =>
    fuzz(t, path, requestBody.content["application/json"].schema),
  );
}
