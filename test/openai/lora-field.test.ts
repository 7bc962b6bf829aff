// The request field `lora` against the server's adapters.
import test from "ava";
import { resolveScales } from "../../src/openai/lora-field.ts";
import { refusal } from "../helpers/parsing.ts";

const server = [1, 0.5, 0];

test("without the field a request gets the server's scales, with it adapters it does not list are off", (t) => {
  t.deepEqual(resolveScales(undefined, server), server);
  t.deepEqual(resolveScales([], server), [0, 0, 0]);
  t.deepEqual(resolveScales([{ id: 2, scale: -3 }], server), [0, 0, -3]);
  const twice = [
    { id: 1, scale: 2 },
    { id: 1, scale: 0.25 },
  ];
  t.deepEqual(resolveScales(twice, server), [0, 0.25, 0]);
});

test("an id that no adapter has is refused at its place in the list", (t) => {
  for (const [id, scales, rule] of [
    [3, server, /ids 0 to 2/],
    [-1, server, /ids 0 to 2/],
    [1, [1], /the only adapter has the id 0/],
    [0, [], /no adapter is loaded/],
  ] as const) {
    const fields = scales.length > 1 ? [{ id: 0, scale: 1 }] : [];
    const refused = refusal(() => resolveScales([...fields, { id, scale: 1 }], scales));
    t.like(refused, { status: 400, code: "invalid_value", param: `lora[${fields.length}].id` });
    t.regex(refused!.message, rule);
  }
});
