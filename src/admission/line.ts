// A waiting line: who comes first is served first, and anybody may leave from the middle. Every step takes constant time.

/** A place in a line; what it gives back when its holder leaves early. */
export class Spot<T> {
  readonly value: T;
  /** Neighbours, and the line it stands in; kept by Line. */
  before: Spot<T> | undefined;
  behind: Spot<T> | undefined;
  line: Line<T> | undefined;

  constructor(value: T, line: Line<T>) {
    this.value = value;
    this.line = line;
  }
}

export class Line<T> implements Iterable<T> {
  #first: Spot<T> | undefined;
  #last: Spot<T> | undefined;
  #length = 0;

  get length(): number {
    return this.#length;
  }
  get first(): T | undefined {
    return this.#first?.value;
  }
  get last(): T | undefined {
    return this.#last?.value;
  }

  push(value: T): Spot<T> {
    const spot = new Spot(value, this);
    spot.before = this.#last;
    if (this.#last) this.#last.behind = spot;
    else this.#first = spot;
    this.#last = spot;
    this.#length += 1;
    return spot;
  }

  /** Takes out who stands first. */
  shift(): T | undefined {
    const first = this.#first;
    if (first) this.remove(first);
    return first?.value;
  }

  /** @returns false when that spot has left this line already */
  remove(spot: Spot<T>): boolean {
    if (spot.line !== this) return false;
    if (spot.before) spot.before.behind = spot.behind;
    else this.#first = spot.behind;
    if (spot.behind) spot.behind.before = spot.before;
    else this.#last = spot.before;
    spot.line = spot.before = spot.behind = undefined;
    this.#length -= 1;
    return true;
  }

  /** From the first to the last. The line must not change meanwhile. */
  *[Symbol.iterator](): Iterator<T> {
    for (let spot = this.#first; spot; spot = spot.behind) yield spot.value;
  }
}
