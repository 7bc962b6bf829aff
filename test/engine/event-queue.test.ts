import test from "ava";
import { EventQueue } from "../../src/engine/event-queue.ts";

const nothing = () => {};

test("items arrive in order, whether they or the consumer come first", async (t) => {
  const queue = new EventQueue<number>(nothing, nothing);
  queue.push(1);
  t.deepEqual(await queue.next(), { value: 1, done: false });
  const pending = queue.next();
  queue.push(2);
  queue.end();
  t.deepEqual(await pending, { value: 2, done: false });
  t.true((await queue.next()).done);
});

test("a failure comes after the items before it, once, and then the queue is over", async (t) => {
  const queue = new EventQueue<number>(nothing, nothing);
  queue.push(1);
  queue.fail(new Error("lost"));
  queue.push(2);
  queue.fail(new Error("second"));
  t.deepEqual(await queue.next(), { value: 1, done: false });
  await t.throwsAsync(queue.next(), { message: "lost" });
  t.true((await queue.next()).done);
});

test("a consumer that waits is told of the failure", async (t) => {
  const queue = new EventQueue<number>(nothing, nothing);
  const pending = queue.next();
  queue.fail(new Error("lost"));
  await t.throwsAsync(pending, { message: "lost" });
});

test("leaving early tells the producer, leaving after the end does not", async (t) => {
  let returned = 0;
  const early = new EventQueue<number>(nothing, () => returned++);
  early.push(1);
  for await (const _ of early) break;
  t.is(returned, 1);
  t.true((await early.next()).done);
  const late = new EventQueue<number>(nothing, () => returned++);
  late.end();
  for await (const _ of late) t.fail();
  await late.return();
  t.is(returned, 1);
});
