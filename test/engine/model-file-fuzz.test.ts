// The model file check against damage: whatever the bytes, it describes the file or refuses it with a ModelFileError, and ends.
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import fc from "fast-check";
import { FileCursor } from "../../src/engine/file-cursor.ts";
import { readGgufHeader } from "../../src/engine/gguf-header.ts";
import { inspectModelFile, ModelFileError } from "../../src/engine/model-file.ts";
import { packageRoot } from "../../src/paths.ts";

const original = readFileSync(join(packageRoot, "models", "tiny-chat.gguf"));
const dir = mkdtempSync(join(tmpdir(), "model-fuzz-"));
test.after.always(() => rmSync(dir, { recursive: true }));

/** @returns whether the file was accepted. Any error but ModelFileError is thrown on. */
function isAccepted(path: string): boolean {
  try {
    inspectModelFile(path, dir);
    return true;
  } catch (error) {
    if (error instanceof ModelFileError) return false;
    throw error;
  }
}

function headerBytesOf(path: string): number {
  const file = new FileCursor(path);
  readGgufHeader(file);
  file.close();
  return file.position;
}

// Numbers that hurt: zeros, ones, sign bits, powers of two, as 1, 4 or 8 bytes.
const damage = fc.oneof(
  fc.uint8Array({ minLength: 1, maxLength: 16 }),
  fc.constantFrom(0n, 1n, 2n ** 31n, 2n ** 32n, 2n ** 40n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n).map((value) => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(value);
    return new Uint8Array(bytes);
  }),
  fc.constantFrom(0, 1, 8, 9, 10, 13, 255).map((type) => Uint8Array.of(type, 0, 0, 0)),
);

test("4,000 damaged headers", (t) => {
  const path = join(dir, "damaged.gguf");
  writeFileSync(path, original);
  const headerBytes = headerBytesOf(path);
  const fd = openSync(path, "r+");
  t.teardown(() => closeSync(fd));
  // Most of a header is vocabulary: half of the damage goes to its first 2 KiB, where counts, keys and types are dense.
  const position = fc.oneof(fc.integer({ min: 0, max: 2048 }), fc.integer({ min: 0, max: headerBytes - 1 }));
  const places = fc.array(fc.tuple(position, damage), { minLength: 1, maxLength: 3 });
  let accepted = 0;
  fc.assert(
    fc.property(places, (patches) => {
      for (const [at, bytes] of patches) writeSync(fd, bytes, 0, bytes.length, at);
      try {
        if (isAccepted(path)) accepted += 1;
      } finally {
        for (const [at, bytes] of patches)
          writeSync(fd, original, at, Math.min(bytes.length, original.length - at), at);
      }
    }),
    { numRuns: 4000 },
  );
  t.true(accepted > 0 && accepted < 4000, `${accepted} accepted`);
});

test("no truncated copy is accepted", (t) => {
  const path = join(dir, "truncated.gguf");
  fc.assert(
    fc.property(fc.integer({ min: 0, max: original.length - 1 }), (length) => {
      writeFileSync(path, original.subarray(0, length));
      return !isAccepted(path);
    }),
    { numRuns: 500 },
  );
  t.pass();
});

test("random bytes are never accepted, with or without a plausible beginning", (t) => {
  const path = join(dir, "random.gguf");
  const beginning = fc.constantFrom("", "GGUF", "GGUF\x03\0\0\0", "GGUF\x02\0\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0");
  fc.assert(
    fc.property(beginning, fc.uint8Array({ maxLength: 300 }), (start, bytes) => {
      writeFileSync(path, Buffer.concat([Buffer.from(start, "latin1"), bytes]));
      return !isAccepted(path);
    }),
    { numRuns: 2000 },
  );
  t.pass();
});
