// Reading a request that may be long is a generator: it stops wherever others may have their turn of the event loop, and who runs it
// decides whether they do (api/in-turns.ts). So it needs neither promises nor a clock.

export type Paced<T> = Generator<undefined, T, undefined>;
