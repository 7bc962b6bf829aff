// Grammars on tiny-chat: what is refused and how it is said, and that one which is too ambiguous harms nobody else.
import test from "ava";
import type { Engine } from "../../src/engine/engine.ts";
import { Failure } from "../../src/errors.ts";
import { type Answer, collect, greedy, request } from "../helpers/requests.ts";
import { loadTinyEngine } from "../helpers/tiny-engine.ts";

let engine: Engine;
test.before(async () => {
  ({ engine } = await loadTinyEngine());
});
test.after.always(() => engine.dispose());

async function answer(grammar: string, sampling = greedy, maxTokens = 60): Promise<Answer> {
  const sampler = await engine.prepareSampler(sampling, { grammar });
  const prompt = await engine.tokenize("Once upon a time", true, true);
  return collect(engine.generate(request(prompt, { sampling, sampler, maxTokens, cacheScope: null })));
}

/** r0 ::= make(r1), r1 ::= make(r2) … the last is "a". */
const chain = (length: number, make: (next: string) => string) =>
  [
    ...Array.from({ length }, (_, i) => `${i === 0 ? "root" : `r${i}`} ::= ${make(`r${i + 1}`)}`),
    `r${length} ::= "a"`,
  ].join("\n");

const refused: readonly (readonly [string, string, RegExp])[] = [
  ["an open parenthesis", 'root ::= ("a"\nother ::= "b"', /^Grammar error: expecting '\)' at line 2: ::= "b"\.$/],
  ["an open class", "root ::= [", /unexpected end of input/],
  ["an unknown escape", 'root ::= "\\q"', /unknown escape at line 1: \\q"/],
  ["a rule that is not there", "root ::= nowhere", /Undefined rule identifier 'nowhere'/],
  ["no root", 'other ::= "a"', /no rule named 'root'/],
  ["another language", "%llguidance {}\nstart: /x/", /expecting name at line 1: %llguidance/],
  ["a NUL character", 'root ::= "a"\0', /NUL/],
  ["left recursion", 'root ::= root "a" | "b"', /left recursion/],
  ["left recursion behind what may be empty", 'root ::= e root "a" | "b"\ne ::= "" | "c"', /too many readings/],
  ["60,000 open parentheses", `root ::= ${"(".repeat(60_000)}`, /nested too deep/],
  ["thousands of rules that begin with one another", chain(9000, (next) => next), /too many rules/],
  ["2^40 readings before the first character", chain(40, (next) => `${next} "p" | ${next} "q"`), /too many readings/],
  ["a long text 2000 times", `root ::= "${"a".repeat(30_000)}"{2000}`, /repetitions are too large/],
  ["many repetitions", `root ::= ${"a{0,2000} ".repeat(6000)}\na ::= "a"`, /repetitions are too large/],
];

for (const [what, grammar, message] of refused) {
  test(`refused as invalid_grammar: ${what}`, async (t) => {
    const error = await t.throwsAsync(engine.prepareSampler(greedy, { grammar }), { instanceOf: Failure, message });
    t.like(error, { kind: "invalid_grammar", param: "grammar", status: 400 });
    t.true(error.message.length < 160, "no more than a little of the grammar comes back");
  });
}

test("what looks alike but is harmless is served", async (t) => {
  t.is((await answer(chain(60, (next) => `${next} | ${next}`))).content, "a");
  t.is((await answer(`${"#\n".repeat(20_000)}root ::= "a" # the end`)).content, "a");
  t.regex((await answer("root ::= ((((a*)*)*)*)*\na ::= [a-z]*")).content, /^[a-z]*$/);
  t.is((await answer(`root ::= ${"(".repeat(150)}"a"${")".repeat(150)}`)).content, "a");
});

test("a grammar whose readings double with every character fails its own request, and no neighbour notices", async (t) => {
  const prompt = await engine.tokenize("A dragon lived", true, true);
  const neighbour = () => collect(engine.generate(request(prompt, { maxTokens: 60, cacheScope: null })));
  const alone = await neighbour();
  const [failed, beside] = await Promise.all([
    t.throwsAsync(answer('root ::= "x" root "y" | "x" root "z"'), { instanceOf: Failure }),
    neighbour(),
  ]);
  t.like(failed, { kind: "invalid_grammar", param: "grammar" });
  t.regex(failed.message, /too many readings/);
  t.is(beside.content, alone.content);
  t.is((await neighbour()).content, alone.content);
});

test("where biases leave nothing that the grammar allows, a complete answer ends and another fails", async (t) => {
  const never = (tokens: Iterable<number>) => ({
    ...greedy,
    logitBias: [...tokens].map((token) => [token, Number.NEGATIVE_INFINITY] as const),
  });
  const withoutEnd = never(engine.model.endTokens);
  const { content, finish } = await answer('root ::= "yes"', withoutEnd);
  t.deepEqual([content, finish.reason], ["yes", "stop"]);
  const whole = { ...withoutEnd, topK: 0, temperature: 1 };
  t.is((await answer('root ::= "yes"', whole)).content, "yes");
  for (const sampling of [never([511]), { ...never([511]), topK: 0, temperature: 1 }]) {
    const failed = await t.throwsAsync(answer("root ::= <[510]> <[511]>", sampling), { instanceOf: Failure });
    t.like(failed, { kind: "invalid_grammar", param: "grammar" });
    t.regex(failed.message, /no token that may be sampled/);
  }
});

test("an answer keeps to its grammar whatever the settings are", async (t) => {
  const hot = { ...greedy, temperature: 2, minP: 0 };
  const settings = [greedy, hot, { ...hot, topK: 0 }, { ...hot, typicalP: 0.5 }, { ...hot, mirostat: 2 as const }];
  for (const [seed, sampling] of settings.entries()) {
    const { content, finish } = await answer('root ::= ([0-9] [a-f]){3} ("é" | "при")', { ...sampling, seed });
    t.regex(content, /^([0-9][a-f]){3}(é|при)$/);
    t.is(finish.reason, "stop");
  }
});
