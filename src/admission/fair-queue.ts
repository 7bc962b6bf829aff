// Who is next, fairly between key_ids; inside a key_id first come, first served, but what a running request still lacks goes before
// the key's next request, which came later. Knows no time.
//
// Every turn lifts its key_id's level by one, and the lowest level is next; of equal ones, who has waited longest since its last turn.
// So keys that go on waiting take strict turns. Who begins to wait starts below the highest level, by as many turns as it is short of
// holding every place: a key that comes when another one holds them all catches up one full set of places, and then takes turns. What
// it caught up is remembered while anybody waits, so coming again brings nothing: over any stretch of a key's waiting, no other key
// gets more than a full set and one turn ahead of it.
import { Line, type Spot } from "./line.ts";

type Lane<T> = { readonly started: Line<T>; readonly waiting: Line<T>; level: number };

const lengthOf = <T>({ started, waiting }: Lane<T>) => started.length + waiting.length;

/** What leave() needs. */
export type Ticket<T> = { readonly keyId: string; readonly spot: Spot<T> };

export type Joining = {
  /** It belongs to a request that runs already. */
  readonly started: boolean;
  /** Places that the key_id has now. */
  readonly held: number;
};

export class FairQueue<T> {
  readonly #places: () => number;
  /** Lanes that have somebody, and those whose turns still count; who has waited longest since its last turn comes first. */
  readonly #lanes = new Map<string, Lane<T>>();
  #length = 0;
  /** The highest level that anybody reached. */
  #top = 0;

  /** @param places how many there are in all */
  constructor(places: () => number) {
    this.#places = places;
  }

  get empty(): boolean {
    return this.#length === 0;
  }
  /** Key_ids that are kept in memory. */
  get known(): number {
    return this.#lanes.size;
  }

  join(keyId: string, value: T, { started, held }: Joining): Ticket<T> {
    const lane = this.#lanes.get(keyId) ?? { started: new Line<T>(), waiting: new Line<T>(), level: -Infinity };
    if (lengthOf(lane) === 0) {
      lane.level = Math.max(lane.level, this.#top - Math.max(0, this.#places() - held));
      this.#moveBack(keyId, lane);
    }
    this.#length += 1;
    return { keyId, spot: (started ? lane.started : lane.waiting).push(value) };
  }

  /** Does nothing for who has left already, or had its turn. */
  leave({ spot }: Ticket<T>): void {
    if (spot.line?.remove(spot)) this.#left();
  }

  /** Takes out whose turn it is. */
  next(): T | undefined {
    const lane = this.#lowest();
    if (!lane) return undefined;
    const value = lane.started.shift() ?? lane.waiting.shift();
    lane.level += 1;
    this.#top = Math.max(this.#top, lane.level);
    this.#left();
    return value;
  }

  /** The lane whose turn it is; it moves behind all others. Lanes that a newcomer is no better off than are forgotten on the way. */
  #lowest(): Lane<T> | undefined {
    const newcomer = this.#top - this.#places();
    let next: [keyId: string, lane: Lane<T>] | undefined;
    for (const entry of this.#lanes) {
      const [keyId, lane] = entry;
      if (lengthOf(lane) > 0) {
        if (!next || lane.level < next[1].level) next = entry;
      } else if (lane.level <= newcomer) this.#lanes.delete(keyId);
    }
    if (next) this.#moveBack(...next);
    return next?.[1];
  }

  #moveBack(keyId: string, lane: Lane<T>): void {
    this.#lanes.delete(keyId);
    this.#lanes.set(keyId, lane);
  }

  /** When nobody waits, nobody is behind anybody. */
  #left(): void {
    this.#length -= 1;
    if (this.#length > 0) return;
    this.#lanes.clear();
    this.#top = 0;
  }
}
