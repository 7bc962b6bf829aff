// Work on pool threads that reads a model, such as tokenising: the model must outlive it.

export class PendingReads {
  readonly #works = new Set<Promise<unknown>>();

  track<T>(work: Promise<T>): Promise<T> {
    this.#works.add(work);
    const done = () => this.#works.delete(work);
    work.then(done, done);
    return work;
  }

  /** Resolves when none is under way, however they ended. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#works);
  }
}
