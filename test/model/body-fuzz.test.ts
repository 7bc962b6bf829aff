// Random bodies against the real engine: templates, schemas and grammars that llama.cpp compiles or refuses, and short answers. Each is
// answered or refused as the caller's mistake, and no sequence is left busy. BODY_FUZZ says how many.
import test from "ava";
import { createDocument } from "../../src/api/openapi/document.ts";
import { operations } from "../../src/api/openapi/operations.ts";
import { BodyFuzz } from "../helpers/body-fuzz.ts";
import { Random } from "../helpers/random.ts";
import { startTinyApi } from "../helpers/tiny-api.ts";

const count = Number(process.env.BODY_FUZZ ?? 60);
const paths = ["/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1/completions", "/apply-template"];

// biome-ignore lint/suspicious/noExplicitAny: a wrong guess fails the test that made it
const document: any = createDocument(operations, "0");

test("random bodies are answered or refused, and no sequence is left busy", async (t) => {
  const { engine, post } = await startTinyApi(t, { MAX_OUTPUT_TOKENS: "8" });
  for (const path of paths) {
    const { schema } = document.paths[path].post.requestBody.content["application/json"];
    const bodies = new BodyFuzz(new Random(path.length), schema);
    const statuses = new Map<number, number>();
    const work = async (share: number) => {
      for (let left = share; left > 0; left--) {
        const body = bodies.next();
        const answer = await post(path, body);
        const text = await answer.text();
        statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1);
        const fine = answer.status === 200 || (answer.status >= 400 && answer.status < 500);
        if (!fine || /"(internal_error|generation_failed)"/.test(text)) {
          t.fail(`${path}: ${answer.status} ${text.slice(0, 500)}\n  for ${body.slice(0, 2000)}`);
        }
      }
    };
    await Promise.all([1, 2, 3, 4].map(() => work(count / 4)));
    t.log(path, Object.fromEntries(statuses));
  }
  t.true(engine.slots().every(({ state }) => state === "idle"));
});
