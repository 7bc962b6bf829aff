import test from "ava";
import fc from "fast-check";
import { type ContextSize, costOf, type DeviceMemory, describeMisfit, fit, fits } from "../../src/engine/fit.ts";

const mebibyte = 2 ** 20;
const perToken = { fixedBytes: 0, bytesPerSequence: 0, bytesPerToken: mebibyte, bytesPerPosition: 0 };
/** 1 MiB per token and nothing else, and so much left beside the headroom. */
const device = (usableMegabytes: number): DeviceMemory => ({
  name: "RAM",
  contexts: [{ cost: perToken }],
  freeBytes: Math.max(usableMegabytes + 256, usableMegabytes / 0.95) * mebibyte,
});

test("what fits is granted as asked", (t) => {
  t.deepEqual(fit({ contextTokens: 1024, sequences: 4 }, [device(4096)]), { contextTokens: 1024, sequences: 4 });
});

test("concurrency gives way first, then CTX in steps of 256", (t) => {
  t.deepEqual(fit({ contextTokens: 1024, sequences: 4 }, [device(4095)]), { contextTokens: 1024, sequences: 3 });
  t.deepEqual(fit({ contextTokens: 4096, sequences: 4 }, [device(3000)]), { contextTokens: 2816, sequences: 1 });
});

test("CTX goes no lower than 2048, or than was asked", (t) => {
  t.is(fit({ contextTokens: 8192, sequences: 2 }, [device(2047)]), undefined);
  t.deepEqual(fit({ contextTokens: 8192, sequences: 2 }, [device(2048)]), { contextTokens: 2048, sequences: 1 });
  t.is(fit({ contextTokens: 512, sequences: 2 }, [device(511)]), undefined);
});

test("every device must have room, after a headroom of 5 %, 256 MiB at least", (t) => {
  const size = { contextTokens: 1000, sequences: 1 };
  t.false(fits(size, [device(5000), { ...device(0), name: "GPU memory" }]));
  const large = { ...device(0), freeBytes: 100_000 * mebibyte };
  t.true(fits({ contextTokens: 95_000, sequences: 1 }, [large]));
  t.false(fits({ contextTokens: 95_001, sequences: 1 }, [large]));
});

test("the refusal names both variables, both amounts and the sizes that do fit", (t) => {
  const text = describeMisfit({ contextTokens: 4096, sequences: 4 }, [device(9000)]);
  t.regex(text, /CTX=4096 with MAX_CONCURRENT_REQUESTS=4 does not fit.*RAM: 16384 MiB needed, 9000 MiB usable/);
  t.regex(text, /largest CTX for this concurrency is 2048\./);
  t.regex(text, /largest concurrency for this CTX is 2\./);
});

test("what grows with sequences alone, or with the context alone, is counted so", (t) => {
  const cost = { fixedBytes: 1000, bytesPerSequence: 100, bytesPerToken: 10, bytesPerPosition: 1 };
  t.is(costOf(cost, { contextTokens: 50, sequences: 3 }), 1000 + 50 + 3 * (100 + 500));
});

test("a draft model's context counts, and is no larger than it may be", (t) => {
  const both = (usable: number, most: ContextSize) => {
    const { contexts, ...memory } = device(usable);
    return [{ ...memory, contexts: [...contexts, { cost: perToken, most }] }];
  };
  const asked = { contextTokens: 1024, sequences: 4 };
  t.true(fits(asked, both(4096 + 2 * 512, { contextTokens: 512, sequences: 2 })));
  t.false(fits(asked, both(4096 + 2 * 512 - 1, { contextTokens: 512, sequences: 2 })));
  t.deepEqual(fit(asked, both(4096, { contextTokens: 1e6, sequences: 2 })), { contextTokens: 1024, sequences: 2 });
  t.deepEqual(fit(asked, both(2048, { contextTokens: 1e6, sequences: 2 })), { contextTokens: 1024, sequences: 1 });
  t.regex(describeMisfit(asked, both(4096, asked)), /8192 MiB needed, 4096 MiB usable; DRAFT_MODEL_PATH included\)/);
});

test("a grant always fits, is never more than asked, and no larger concurrency would do", (t) => {
  const size = fc.record({
    contextTokens: fc.integer({ min: 128, max: 40_000 }),
    sequences: fc.integer({ min: 1, max: 40 }),
  });
  fc.assert(
    fc.property(size, fc.integer({ min: -300, max: 200_000 }), (asked, megabytes) => {
      const devices = [device(megabytes)];
      const granted = fit(asked, devices);
      if (!granted) return;
      t.true(fits(granted, devices));
      t.true(granted.contextTokens <= asked.contextTokens && granted.sequences <= asked.sequences);
      if (granted.sequences < asked.sequences) t.false(fits({ ...asked, sequences: granted.sequences + 1 }, devices));
    }),
  );
});
