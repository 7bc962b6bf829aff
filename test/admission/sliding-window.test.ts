// The window alone: ageing, corrections, debts, and the promise of when there will be room.
import test from "ava";
import fc from "fast-check";
import { SlidingWindow, windowMs } from "../../src/admission/sliding-window.ts";

test("an entry counts for exactly a minute", (t) => {
  const window = new SlidingWindow();
  window.add(1, 1000);
  window.age(1000 + windowMs - 0.001, 1);
  t.is(window.sum, 1);
  window.age(1000 + windowMs, 1);
  t.is(window.sum, 0);
});

test("room comes when enough of the oldest has aged out", (t) => {
  const window = new SlidingWindow();
  window.add(3, 0);
  window.add(5, 10_000);
  t.is(window.msUntilRoom(2, 10, 20_000), 0);
  t.is(window.msUntilRoom(3, 10, 20_000), 40_000);
  t.is(window.msUntilRoom(6, 10, 20_000), 50_000);
  t.is(window.msUntilEmpty(10, 20_000), 50_000);
});

test("an entry can shrink and leave; its hold follows", (t) => {
  const window = new SlidingWindow();
  const told: (number | "released")[] = [];
  const entry = window.add(8, 0);
  entry.hold = { release: () => told.push("released"), resize: (weight) => told.push(weight) };
  window.reduce(entry, 5);
  t.is(window.sum, 5);
  window.reduce(entry, 0);
  t.is(window.sum, 0);
  window.reduce(entry, 3);
  window.remove(entry);
  t.deepEqual(told, [5, "released"]);
});

test("an entry that ages out releases its hold", (t) => {
  const window = new SlidingWindow();
  let released = 0;
  window.add(1, 0).hold = { release: () => (released += 1), resize: () => {} };
  window.age(windowMs, 1);
  t.is(released, 1);
});

test("what was used beyond the limit is owed, and takes the room when it opens", (t) => {
  const window = new SlidingWindow();
  window.add(10, 0);
  window.addUsed(25, 1000, 10);
  t.is(window.debt, 25);
  window.age(windowMs, 10);
  t.is(window.sum, 10);
  t.is(window.debt, 15);
  // Entered when the room opened, not when somebody looked.
  t.is(window.msUntilRoom(5, 10, windowMs + 30_000), 3 * windowMs - windowMs - 30_000);
  window.age(4 * windowMs, 10);
  t.is(window.sum + window.debt, 0);
});

test("a debt is entered by whole minutes when it is many times the limit", (t) => {
  const window = new SlidingWindow();
  window.add(1, 0);
  window.addUsed(1_000_000, 0, 1);
  t.is(window.msUntilRoom(1, 1, 0), 1_000_001 * windowMs);
  t.is(window.msUntilEmpty(1, 0), 1_000_001 * windowMs);
});

test("a raised limit makes room for the debt at once, a lowered one refuses until enough has aged out", (t) => {
  const window = new SlidingWindow();
  window.add(10, 0);
  window.addUsed(5, 0, 10);
  window.age(1000, 100);
  t.is(window.debt, 0);
  t.is(window.sum, 15);
  t.is(window.msUntilRoom(1, 10, 1000), windowMs - 1000);
});

type Step = { readonly waitMs: number; readonly take: number; readonly used: number; readonly limit: number };
const steps = fc.array(
  fc.record<Step>({
    waitMs: fc.oneof(fc.nat(3000), fc.nat(90_000)),
    take: fc.integer({ min: 1, max: 12 }),
    used: fc.nat(60),
    limit: fc.constantFrom(12, 12, 12, 17, 30),
  }),
  { maxLength: 40 },
);

test("the promised moment is the first one with room, whatever was taken, used and owed before", (t) => {
  let refusals = 0;
  const property = fc.property(steps, (all) => {
    const window = new SlidingWindow();
    let now = 0;
    for (const { waitMs, take, used, limit } of all) {
      now += waitMs;
      const waits = window.msUntilRoom(take, limit, now);
      if (waits > 0) {
        refusals += 1;
        const later = copyOf(window, now);
        if (later.msUntilRoom(take, limit, now + waits - 0.01) === 0) throw new Error("there was room before");
        if (later.msUntilRoom(take, limit, now + waits) > 0) throw new Error("there was no room then");
      } else {
        window.add(take, now);
        if (used > take) window.addUsed(used - take, now, limit);
        if (window.sum > limit) throw new Error("more than the limit");
      }
    }
  });
  fc.assert(property, { numRuns: 2000 });
  t.true(refusals > 1000);
});

/** A window with the same entries and the same debt, to look into its future. */
function copyOf(window: SlidingWindow, now: number): SlidingWindow {
  const copy = new SlidingWindow();
  for (const { atMs, weight } of window.entries()) copy.add(weight, atMs);
  if (window.debt > 0) copy.addUsed(window.debt, now, window.sum);
  return copy;
}
