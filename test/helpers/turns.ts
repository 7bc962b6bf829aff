// A world of calls, places and turns for tests of who is next: over the real queue, or over any rule written down as plainly as can be.
import { FairQueue, type Joining } from "../../src/admission/fair-queue.ts";

/** What FairQueue does. */
export interface Turns {
  readonly empty: boolean;
  /** @returns what takes it out again */
  join(keyId: string, call: Call, joining: Joining): () => void;
  next(): Call | undefined;
}

export function realTurns(places: number): Turns {
  const queue = new FairQueue<Call>(() => places);
  return {
    get empty() {
      return queue.empty;
    },
    join: (keyId, call, joining) => {
      const ticket = queue.join(keyId, call, joining);
      return () => queue.leave(ticket);
    },
    next: () => queue.next(),
  };
}

export type Rule = {
  /** The level of a key that begins to wait. @param own its level before, -Infinity if unknown; @param lack places it does not hold */
  readonly start: (own: number, top: number, lack: number) => number;
  /** Everything, when nobody waits. */
  readonly forgets: boolean;
  /** Levels do not matter. */
  readonly firstCome?: true;
};

/** The key with the lowest level is next, of equal ones who has waited longest since its last turn. */
export class TurnsByRule implements Turns {
  readonly #rule: Rule;
  readonly #places: number;
  #calls: { keyId: string; call: Call; started: boolean }[] = [];
  readonly #levels = new Map<string, number>();
  /** When a key began to wait or had its last turn, counted in such events. */
  readonly #since = new Map<string, number>();
  #events = 0;
  #top = 0;

  constructor(rule: Rule, places: number) {
    this.#rule = rule;
    this.#places = places;
  }

  get empty(): boolean {
    return this.#calls.length === 0;
  }

  join(keyId: string, call: Call, { started, held }: Joining): () => void {
    if (!this.#calls.some((other) => other.keyId === keyId)) {
      const own = this.#levels.get(keyId) ?? -Infinity;
      this.#levels.set(keyId, this.#rule.start(own, this.#top, this.#places - held));
      this.#since.set(keyId, this.#events++);
    }
    const entry = { keyId, call, started };
    this.#calls.push(entry);
    return () => this.#remove(entry);
  }

  next(): Call | undefined {
    const order = (keyId: string) => [this.#levels.get(keyId)!, this.#since.get(keyId)!] as const;
    const lower = (a: string, b: string) => order(a)[0] - order(b)[0] || order(a)[1] - order(b)[1];
    const [keyId] = this.#rule.firstCome ? [this.#calls[0]?.keyId] : this.#calls.map((call) => call.keyId).sort(lower);
    const own = this.#calls.filter((call) => call.keyId === keyId);
    const entry = own.find(({ started }) => started) ?? own[0];
    if (keyId === undefined || !entry) return undefined;
    this.#levels.set(keyId, this.#levels.get(keyId)! + 1);
    this.#top = Math.max(this.#top, this.#levels.get(keyId)!);
    this.#since.set(keyId, this.#events++);
    this.#remove(entry);
    return entry.call;
  }

  #remove(entry: { keyId: string }): void {
    this.#calls = this.#calls.filter((other) => other !== entry);
    if (this.#calls.length > 0 || !this.#rule.forgets) return;
    this.#levels.clear();
    this.#top = 0;
  }
}

export type Call = {
  readonly keyId: string;
  /** Its number among those of its key and kind. */
  readonly order: number;
  readonly started: boolean;
  leave: () => void;
};

export type Step =
  | { readonly do: "arrive"; readonly keyId: string }
  | { readonly do: "finish" | "another" | "leave"; readonly which: number };

/** Gives places as the gate does, and throws at a turn that keeps a key waiting too long or is not in order inside its key. */
export class World {
  readonly #queue: Turns;
  readonly #places: number;
  readonly #running: Call[] = [];
  readonly #waiting = new Set<Call>();
  #calls = 0;
  /** Of each two keys: how many turns more the first got than the second, from the moment where it is most, while the second waits. */
  readonly #ahead = new Map<string, number>();
  /** Whose turns it was. */
  readonly turns: string[] = [];

  constructor(queue: Turns, places: number) {
    this.#queue = queue;
    this.#places = places;
  }

  take(step: Step): void {
    if (step.do === "arrive") this.arrive(step.keyId);
    else if (step.do === "finish") this.finish(step.which);
    else if (step.do === "another") this.#another(step.which);
    else [...this.#waiting][step.which % this.#waiting.size]?.leave();
  }

  arrive(keyId: string): void {
    this.#enter(keyId, false);
  }

  finish(which: number): void {
    if (this.#running.length === 0) return;
    this.#running.splice(which % this.#running.length, 1);
    const call = this.#queue.next();
    if (call) this.#turn(call);
  }

  drain(): void {
    while (this.#running.length > 0) this.finish(0);
    if (this.#waiting.size > 0) throw new Error(`${this.#waiting.size} wait for ever`);
  }

  #another(which: number): void {
    const call = this.#running[which % this.#running.length];
    if (call) this.#enter(call.keyId, true);
  }

  #enter(keyId: string, started: boolean): void {
    const call: Call = { keyId, order: this.#calls++, started, leave: () => {} };
    if (this.#queue.empty && this.#running.length < this.#places) {
      this.#running.push(call);
      return;
    }
    const held = this.#running.filter((other) => other.keyId === keyId).length;
    const leave = this.#queue.join(keyId, call, { started, held });
    call.leave = () => {
      leave();
      this.#gone(call);
    };
    this.#waiting.add(call);
  }

  #turn(call: Call): void {
    const { keyId } = call;
    for (const other of this.#waiting) {
      if (other.keyId !== keyId) continue;
      if (other.started === call.started ? other.order < call.order : other.started)
        throw new Error(`${keyId}: ${call.order} before ${other.order}`);
    }
    this.turns.push(keyId);
    this.#running.push(call);
    this.#count(keyId);
    this.#gone(call);
  }

  #count(keyId: string): void {
    for (const [pair, turns] of this.#ahead)
      if (pair.endsWith(` ${keyId}`)) this.#ahead.set(pair, Math.max(0, turns - 1));
    for (const other of new Set([...this.#waiting].map((call) => call.keyId))) {
      if (other === keyId) continue;
      const turns = (this.#ahead.get(`${keyId} ${other}`) ?? 0) + 1;
      this.#ahead.set(`${keyId} ${other}`, turns);
      if (turns > this.#places + 1) throw new Error(`${keyId} is ${turns} turns ahead of ${other}`);
    }
  }

  /** Who has nobody waiting has no turn to lose. */
  #gone(call: Call): void {
    this.#waiting.delete(call);
    if ([...this.#waiting].some(({ keyId }) => keyId === call.keyId)) return;
    for (const pair of this.#ahead.keys()) if (pair.endsWith(` ${call.keyId}`)) this.#ahead.delete(pair);
  }
}
