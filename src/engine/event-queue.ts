// A queue with one producer that never waits and one consumer that iterates. Used once per request.

type Waiter<T> = { resolve: (result: IteratorResult<T>) => void; reject: (reason: unknown) => void };

export class EventQueue<T> implements AsyncIterableIterator<T> {
  readonly #onPull: () => void;
  readonly #onReturn: () => void;
  #items: T[] = [];
  #waiter: Waiter<T> | undefined;
  #ended = false;
  #failure: { reason: unknown } | undefined;

  /** @param onPull called when the consumer asks for more; @param onReturn called when it stops before the end */
  constructor(onPull: () => void, onReturn: () => void) {
    this.#onPull = onPull;
    this.#onReturn = onReturn;
  }

  /** Items the consumer has not taken yet. */
  get length(): number {
    return this.#items.length;
  }

  push(item: T): void {
    if (this.#ended) return;
    if (this.#waiter) this.#settle().resolve({ value: item, done: false });
    else this.#items.push(item);
  }

  /** No more items. The first of end() and fail() counts. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    if (this.#waiter) this.#settle().resolve({ value: undefined, done: true });
  }

  /** The consumer gets the items before this, then the failure. */
  fail(reason: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    if (this.#waiter) this.#settle().reject(reason);
    else this.#failure = { reason };
  }

  next(): Promise<IteratorResult<T>> {
    const item = this.#items.shift();
    if (item !== undefined) {
      this.#onPull();
      return Promise.resolve({ value: item, done: false });
    }
    if (this.#failure) {
      const { reason } = this.#failure;
      this.#failure = undefined;
      return Promise.reject(reason);
    }
    if (this.#ended) return Promise.resolve({ value: undefined, done: true });
    return new Promise((resolve, reject) => {
      this.#waiter = { resolve, reject };
    });
  }

  return(): Promise<IteratorResult<T>> {
    if (!this.#ended) {
      this.end();
      this.#onReturn();
    }
    this.#items = [];
    this.#failure = undefined;
    return Promise.resolve({ value: undefined, done: true });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #settle(): Waiter<T> {
    const waiter = this.#waiter!;
    this.#waiter = undefined;
    return waiter;
  }
}
