// What one key_id has used in the last minute: entries that each count for exactly a minute, and a debt of units that found no room.
// Time comes in with every call and never goes back. Knows no limiter but lets go of its holds.
import { Line, type Spot } from "./line.ts";

export const windowMs = 60_000;

/** A limiter's job that keeps units taken; see limiter.ts. */
export interface Hold {
  /** Gives the units back. The second and later times do nothing. */
  release(): void;
  /** Keeps another number of units, at least 1, until the same moment. */
  resize(weight: number): void;
}

export class Entry {
  readonly atMs: number;
  weight: number;
  hold: Hold | undefined;
  spot: Spot<Entry> | undefined;

  constructor(atMs: number, weight: number) {
    this.atMs = atMs;
    this.weight = weight;
  }
}

export class SlidingWindow {
  readonly #entries = new Line<Entry>();
  /** Entries that no request asked for (an excess, a debt) and that no limiter has been told of yet. */
  readonly untold = new Set<Entry>();
  #sum = 0;
  #debt = 0;

  /** Units that count now. */
  get sum(): number {
    return this.#sum;
  }
  /** Units used that are still to be entered, before anything new. */
  get debt(): number {
    return this.#debt;
  }

  /** What counts now, the oldest first. */
  entries(): Iterable<Readonly<Pick<Entry, "atMs" | "weight">>> {
    return this.#entries;
  }

  /** Drops what is a minute old. Debt takes the room at the very moment when it opens. @param limit of the key that asks */
  age(now: number, limit: number): void {
    for (let oldest = this.#entries.first; oldest; oldest = this.#entries.first) {
      const leavesMs = oldest.atMs + windowMs;
      if (leavesMs > now) break;
      this.remove(oldest);
      this.#payDebt(leavesMs, limit);
    }
    this.#payDebt(now, limit);
  }

  /** @param weight at least 1; whether there is room is the caller's question, asked before */
  add(weight: number, now: number): Entry {
    const entry = new Entry(now, weight);
    entry.spot = this.#entries.push(entry);
    this.#sum += weight;
    return entry;
  }

  /** Enters units that have been used already, as far as there is room; the rest is debt. */
  addUsed(weight: number, now: number, limit: number): void {
    this.#debt += weight;
    this.age(now, limit);
  }

  /** The entry counts for less from now on; for 0 it is gone. Does nothing to one that has aged out. */
  reduce(entry: Entry, weight: number): void {
    if (weight === 0) this.remove(entry);
    if (!entry.spot?.line) return;
    this.#sum -= entry.weight - weight;
    entry.weight = weight;
    entry.hold?.resize(weight);
  }

  remove(entry: Entry): void {
    if (!entry.spot || !this.#entries.remove(entry.spot)) return;
    this.#sum -= entry.weight;
    this.untold.delete(entry);
    entry.hold?.release();
  }

  /** Milliseconds until this many units fit beside everything that counts or is owed; 0 = now. @param weight at most `limit` */
  msUntilRoom(weight: number, limit: number, now: number): number {
    this.age(now, limit);
    const missing = this.#sum + this.#debt + weight - limit;
    if (missing <= 0) return 0;
    return (this.#debt === 0 ? this.#whenLeft(missing) : this.#whenDebtPaid(weight, limit)) - now;
  }

  /** Milliseconds until nothing counts and nothing is owed. */
  msUntilEmpty(limit: number, now: number): number {
    this.age(now, limit);
    if (this.#debt > 0) return this.#whenDebtPaid(limit, limit) - now;
    return this.#entries.last ? this.#entries.last.atMs + windowMs - now : 0;
  }

  /** Milliseconds until this many of the present units have aged out; a minute when there are not so many. */
  msUntilLeft(weight: number, now: number): number {
    return weight > this.#sum ? windowMs : this.#whenLeft(weight) - now;
  }

  #payDebt(now: number, limit: number): void {
    const paid = Math.min(this.#debt, limit - this.#sum);
    if (paid <= 0) return;
    this.#debt -= paid;
    this.untold.add(this.add(paid, now));
  }

  /** The moment when the oldest entries of this weight in all have aged out. @param weight at most the sum */
  #whenLeft(weight: number): number {
    let left = 0;
    for (const entry of this.#entries) {
      left += entry.weight;
      if (left >= weight) return entry.atMs + windowMs;
    }
    throw new Error(`${weight} units cannot leave a window of ${this.#sum}`);
  }

  /** The moment when all debt has been entered and this weight fits besides: plays age() forward. */
  #whenDebtPaid(weight: number, limit: number): number {
    const entries = Array.from(this.#entries, ({ atMs, weight }) => ({ atMs, weight }));
    let [sum, debt, skippedMs] = [this.#sum, this.#debt, 0];
    for (let next = 0; ; next++) {
      if (sum === limit && debt > limit) {
        // A full window of debt takes the place of a full window, at the same moments of the minute, again and again.
        const minutes = Math.ceil(debt / limit) - 1;
        debt -= minutes * limit;
        skippedMs += minutes * windowMs;
      }
      const oldest = entries[next]!;
      const leavesMs = oldest.atMs + windowMs;
      sum -= oldest.weight;
      const paid = Math.min(debt, Math.max(0, limit - sum));
      if (paid > 0) entries.push({ atMs: leavesMs, weight: paid });
      sum += paid;
      debt -= paid;
      if (sum + debt + weight <= limit) return leavesMs + skippedMs;
    }
  }
}
