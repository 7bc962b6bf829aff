import test from "ava";
import fc from "fast-check";
import { chooseMove, type GapCosts } from "../../src/engine/compaction.ts";
import type { Generation } from "../../src/engine/generation.ts";
import { Sequence } from "../../src/engine/sequences.ts";

const costs: GapCosts = { gap: 3, passTokens: 3 };
const decoding = { prefilling: false, remaining: 100 } as Generation;

/** "x" decodes, "." is idle and empty, "o" idle with something cached, "p" reads its prompt, "e" decodes its last tokens. */
function places(picture: string): Sequence[] {
  return [...picture].map((mark, id) => {
    const sequence = new Sequence(id);
    if (mark === "x") sequence.generation = decoding;
    if (mark === "p") sequence.generation = { ...decoding, prefilling: true } as Generation;
    if (mark === "e") sequence.generation = { ...decoding, remaining: 3 } as Generation;
    if (mark === "o") sequence.length = 10;
    sequence.lastUsed = id;
    return sequence;
  });
}

function moveOf(picture: string, gaps = costs): string {
  const move = chooseMove(places(picture), gaps);
  return move ? `${move.from.id} to ${move.to.id}` : "none";
}

test("a lone sequence far from the others comes to them", (t) => {
  t.is(moveOf("x.....xxxx"), "0 to 5");
  t.is(moveOf("xxxx.....x"), "9 to 4");
  t.is(moveOf("xx..x"), "4 to 2");
});

test("who is together, or nearly, stays; so does who is alone, reads a prompt or is nearly done", (t) => {
  for (const picture of ["xxxx", "..xx..", "xx.xx", "x", "....", "xxxxx.....p", "xxxx.....e"])
    t.is(moveOf(picture), "none", picture);
});

test("of places that save as much, the emptiest and longest unused is taken", (t) => {
  t.is(moveOf("xxo......x"), "9 to 2");
  t.is(moveOf("o.xx......x"), "10 to 1");
  t.is(moveOf("oxx.......x"), "10 to 3");
});

test("without streams nothing moves; where gaps cannot be filled, every one is a pass", (t) => {
  t.is(moveOf("x......x", { gap: 0, passTokens: 0 }), "none");
  t.is(moveOf("xx.x", { gap: 0, passTokens: 3 }), "0 to 2");
});

test("moves end, and each leaves fewer gaps", (t) => {
  const picture = fc.array(fc.constantFrom("x", ".", "o", "p", "e"), { maxLength: 40 });
  fc.assert(
    fc.property(picture, (marks) => {
      const all = places(marks.join(""));
      for (let moves = 0; moves <= 2 * all.length; moves++) {
        const move = chooseMove(all, costs);
        if (!move) return;
        t.true(move.from.generation === decoding && move.to.generation === undefined);
        move.to.generation = move.from.generation;
        move.from.generation = undefined;
      }
      t.fail(`no end of moves: ${marks.join("")}`);
    }),
  );
});
