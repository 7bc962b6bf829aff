// Durations and moments of the keys command, and what of them ends up in the key file.
import test from "ava";
import fc from "fast-check";
import { parseExpiry } from "../../src/keys/expiry.ts";
import { expiryFrom, formatMoment, parseDuration } from "../../src/keys/lifetime.ts";

process.env.TZ = "America/St_Johns";

const now = Date.UTC(2026, 0, 31, 23, 59, 30);

test("a duration is a whole number of minutes, hours or days", (t) => {
  t.is(parseDuration("1m"), 60_000);
  t.is(parseDuration("36h"), 36 * 3_600_000);
  t.is(parseDuration("90d"), 90 * 86_400_000);
  for (const bad of [
    "",
    "0m",
    "00d",
    "-1d",
    "1.5h",
    "1 d",
    "1D",
    "1s",
    "1w",
    "d",
    "1d ",
    "1d\n",
    "9999999999m",
    "1e3m",
  ]) {
    t.is(parseDuration(bad), undefined, JSON.stringify(bad));
  }
});

test("a duration becomes a moment in UTC with Z, whatever the zone of the machine", (t) => {
  t.is(expiryFrom("1m", now), "2026-02-01T00:00:30Z");
  t.is(expiryFrom("1d", now), "2026-02-01T23:59:30Z");
  t.is(expiryFrom("1m", now + 1), "2026-02-01T00:00:31Z", "a key does not end before its time");
});

test("a moment stays as it was written", (t) => {
  for (const text of ["2026-12-31", "2026-12-31 10:00", "2026-12-31T10:00:00.5+02:00", "2020-01-01"]) {
    t.is(expiryFrom(text, now), text);
  }
});

test("what is neither, or lies beyond what the file can hold, is refused", (t) => {
  for (const bad of ["", "never", "soon", "2026-02-30", "999999999d", "3000000d", "1d:2"]) {
    t.is(expiryFrom(bad, now), undefined, JSON.stringify(bad));
  }
});

test("whatever is written, the server reads the same moment, to the second", (t) => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 253_402_300_799_000 }), (timeMs) => {
      t.is(parseExpiry(formatMoment(timeMs)), Math.ceil(timeMs / 1000) * 1000);
    }),
  );
});
