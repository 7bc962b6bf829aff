// Who is next: one turn for each key_id that has somebody waiting, round and round; inside a key_id first come, first served, but
// what a running request still lacks goes before the key's next request, which came later. Knows no places and no time.
import { Line, type Spot } from "./line.ts";

type Lane<T> = { readonly started: Line<T>; readonly waiting: Line<T> };

/** What leave() needs. */
export type Ticket<T> = { readonly keyId: string; readonly spot: Spot<T> };

export class FairQueue<T> {
  /** Lanes that have somebody, in the order of their turns. */
  readonly #lanes = new Map<string, Lane<T>>();

  get empty(): boolean {
    return this.#lanes.size === 0;
  }

  /** @param started it belongs to a request that runs already */
  join(keyId: string, value: T, started: boolean): Ticket<T> {
    const lane = this.#lanes.get(keyId) ?? { started: new Line<T>(), waiting: new Line<T>() };
    this.#lanes.set(keyId, lane);
    return { keyId, spot: (started ? lane.started : lane.waiting).push(value) };
  }

  leave({ keyId, spot }: Ticket<T>): void {
    spot.line?.remove(spot);
    this.#dropIfEmpty(keyId);
  }

  /** Takes out whose turn it is; that key_id's next turn comes after everybody else's. */
  next(): T | undefined {
    for (const [keyId, lane] of this.#lanes) {
      this.#lanes.delete(keyId);
      const value = lane.started.shift() ?? lane.waiting.shift();
      if (lane.started.length + lane.waiting.length > 0) this.#lanes.set(keyId, lane);
      return value;
    }
    return undefined;
  }

  #dropIfEmpty(keyId: string): void {
    const lane = this.#lanes.get(keyId);
    if (lane && lane.started.length + lane.waiting.length === 0) this.#lanes.delete(keyId);
  }
}
