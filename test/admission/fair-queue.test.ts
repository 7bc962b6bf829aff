// The order of turns against a plain model of the rule, and what the rule promises, which plain wrong rules break.
import test from "ava";
import fc from "fast-check";
import { FairQueue } from "../../src/admission/fair-queue.ts";
import { type Rule, realTurns, type Step, type Turns, TurnsByRule, World } from "../helpers/turns.ts";

const keyIds = ["a", "b", "c"] as const;

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant("arrive" as const), keyId: fc.constantFrom(...keyIds) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("finish" as const), which: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("another" as const), which: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("leave" as const), which: fc.nat() }) },
);
const history = fc.array(step, { maxLength: 150, size: "max" });
const anyPlaces = fc.integer({ min: 1, max: 4 });

const theRule: Rule = { start: (own, top, lack) => Math.max(own, top - lack), forgets: true };

type Make = (places: number) => Turns;
const byRule =
  (rule: Rule): Make =>
  (places) =>
    new TurnsByRule(rule, places);

/** World looks at every turn. */
const bounded = (make: Make) =>
  fc.property(history, anyPlaces, (steps, places) => {
    const world = new World(make(places), places);
    for (const each of steps) world.take(each);
    world.drain();
  });

/** Whatever was before, as long as somebody waited. */
const catchesUp = (make: Make) =>
  fc.property(anyPlaces, fc.integer({ min: 1, max: 9 }), fc.nat(20), (places, few, before) => {
    const world = new World(make(places), places);
    for (let i = 0; i < before + places + 20; i++) world.arrive("many");
    for (let i = 0; i < before; i++) world.finish(0);
    for (let i = 0; i < few; i++) world.arrive("few");
    world.turns.length = 0;
    world.drain();
    const first = Math.min(few, places);
    const expected = Array.from({ length: first }, () => "few");
    for (let i = first; i < few; i++) expected.push("many", "few");
    if (world.turns.slice(0, expected.length).join() !== expected.join()) throw new Error(world.turns.join());
  });

/** Once levels are even, which takes a full set of places for each key at most, any three turns are three keys'. */
const strictTurns = (make: Make) =>
  fc.property(history, anyPlaces, (steps, places) => {
    const world = new World(make(places), places);
    for (const each of steps) world.take(each);
    for (const keyId of keyIds) for (let i = 0; i < places + 20; i++) world.arrive(keyId);
    world.turns.length = 0;
    const uneven = keyIds.length * (places + 1);
    while (world.turns.length < uneven + 12) world.finish(0);
    for (let i = uneven; i + keyIds.length <= world.turns.length; i++) {
      const round = new Set(world.turns.slice(i, i + keyIds.length));
      if (round.size !== keyIds.length) throw new Error(world.turns.join());
    }
  });

test("over any stretch of a key's waiting no other one gets more than a full set of places and one ahead", (t) => {
  t.notThrows(() => fc.assert(bounded(realTurns), { numRuns: 1000 }));
});

test("who comes when others hold every place catches up a full set, and then keys take turns", (t) => {
  t.notThrows(() => fc.assert(catchesUp(realTurns), { numRuns: 500 }));
});

test("keys that go on waiting take strict turns, whatever was before", (t) => {
  t.notThrows(() => fc.assert(strictTurns(realTurns), { numRuns: 500 }));
});

test("the order is that of the plain model, whoever comes, leaves or ends", (t) => {
  const property = fc.property(history, anyPlaces, (steps, places) => {
    const [real, model] = [realTurns(places), new TurnsByRule(theRule, places)];
    const worlds = [new World(real, places), new World(model, places)];
    for (const world of worlds) {
      for (const each of steps) world.take(each);
      world.drain();
    }
    if (worlds[0]!.turns.join() !== worlds[1]!.turns.join()) throw new Error("another order");
  });
  t.notThrows(() => fc.assert(property, { numRuns: 1000 }));
});

/** A rule that breaks one of the promises, which is how the promise shows that it says something. */
const wrong = (name: string, rule: Rule, promise: (make: Make) => fc.IRawProperty<unknown>) =>
  test(`the promises are not kept by ${name}`, (t) => {
    const { failed } = fc.check(promise(byRule(rule)) as fc.IRawProperty<unknown, false>, { seed: 1, numRuns: 1000 });
    t.true(failed);
  });

test("a key whose past counts no more is forgotten, and everybody when nobody waits", (t) => {
  const queue = new FairQueue<number>(() => 2);
  const waiting = { started: false, held: 0 };
  for (let i = 0; i < 1000; i++) queue.join("steady", i, waiting);
  for (let i = 1000; i < 2000; i++) {
    queue.join(`key-${i}`, i, waiting);
    t.deepEqual(
      [queue.next()!, queue.next()!].sort((a, b) => a - b),
      [i - 1000, i],
    );
    t.true(queue.known <= 4, `${queue.known} keys`);
  }
  t.deepEqual([queue.next(), queue.known], [undefined, 0]);
});

wrong("first come, first served", { ...theRule, firstCome: true }, bounded);
wrong("a new start each time a key comes", { start: (_own, top, lack) => top - lack, forgets: true }, bounded);
wrong("counts since ever", { start: (own) => Math.max(own, 0), forgets: false }, bounded);
wrong("turns alone", { start: (_own, top) => top, forgets: true }, catchesUp);
wrong("a start that minds no places held", { start: (own, top) => Math.max(own, top - 4), forgets: true }, catchesUp);
