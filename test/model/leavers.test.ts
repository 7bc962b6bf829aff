// Clients that close their socket, 1,000 in each phase, half of them streaming: the real engine frees what they had within one step,
// counted from the moment their socket is closed, and nothing of them is left, neither a place nor memory.
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import { setImmediate as tick } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import test, { type ExecutionContext } from "ava";
import { cachedModel } from "../../src/bench/model-cache.ts";
import type { Engine, GenerationEvent, GenerationRequest } from "../../src/engine/engine.ts";
import { head, RawConnection } from "../helpers/raw.ts";
import { collect, request } from "../helpers/requests.ts";
import { startServer, testConfig, testKey } from "../helpers/server.ts";
import { loadTinyEngine } from "../helpers/tiny-engine.ts";

const each = 1000;
/** By then everything is compiled, and every cache has its size. */
const warm = 250;
/** Bytes that one more client may cost in the end, with what is compiled meanwhile: less than a socket or a request that is forgotten. */
const mostBytes = 2500;
/** Their prompts tell who is who. */
const holderToken = 500;
const leaverToken = 501;

type Phase = "queued" | "prefill" | "decode";

/** Where the client was when its socket was closed, and how many steps had ended by then, once that is known. */
type Closing = { readonly at: Phase | undefined; steps?: number };

/** What happens to the client that is about to leave; one at a time. */
class Leaver {
  readonly socketClosed: Promise<Closing>;
  readonly over: Promise<void>;
  /** The engine has it. */
  generating = false;
  started = false;
  deltas = 0;
  #onSocketClosed: (closing: Closing) => void = () => {};
  #onOver = () => {};
  #watchers: (() => void)[] = [];

  constructor() {
    this.socketClosed = new Promise((resolve) => {
      this.#onSocketClosed = resolve;
    });
    this.over = new Promise((resolve) => {
      this.#onOver = resolve;
    });
  }

  closeSocket(closing: Closing): void {
    this.#onSocketClosed(closing);
  }
  end(): void {
    this.#onOver();
  }
  changed(): void {
    for (const watcher of this.#watchers.splice(0)) watcher();
  }

  /** Resolves once the condition holds. Looked at whenever a step has ended or something of this client has changed. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.#watchers.push(resolve));
  }
}

/** The application over the real engine on a socket, with a count of steps and an eye on the leaver. */
async function setUp(t: ExecutionContext) {
  const env = { MAX_CONCURRENT_REQUESTS: "2", CTX: "2048", BATCH: "32", UBATCH: "32", FLASH_ATTN: "off" };
  const { engine: real, heartbeat } = await loadTinyEngine(env, { modelPath: await cachedModel("tiny") });
  const state = { steps: 0, leaver: new Leaver() };
  const step = heartbeat.step.bind(heartbeat);
  heartbeat.step = (tokens) => {
    state.steps++;
    step(tokens);
    state.leaver.changed();
  };
  const generate = (asked: GenerationRequest) =>
    asked.prompt[0] === leaverToken ? watched(real, asked, state.leaver) : real.generate(asked);
  const engine = new Proxy(real, {
    get: (_, name: keyof Engine) => {
      const value = name === "generate" ? generate : real[name];
      return typeof value === "function" ? value.bind(real) : value;
    },
  });
  // A quota remembers each request for a minute.
  const server = await startServer({ engine: () => engine, config: testConfig({ ...env, AUTH_ENABLED: "false" }) });
  const onRequest = (message: unknown) => {
    const { request: received, socket } = message as { request: IncomingMessage; socket: Socket };
    const { leaver } = state;
    if (!received.headers["x-leaver"]) return;
    // Before the application's own listeners.
    socket.prependOnceListener("close", () => {
      const closing: Closing = { at: phaseOf(parts) };
      leaver.closeSocket(closing);
      // Steps may have ended that are not known here yet, as the next one begins by itself. They are after a turn of the event loop.
      const count = () => {
        closing.steps = state.steps;
      };
      setImmediate(() => setImmediate(count));
    });
  };
  subscribe("http.server.request.start", onRequest);
  t.teardown(async () => {
    unsubscribe("http.server.request.start", onRequest);
    await server.close();
    await real.dispose();
  });
  const parts = { engine: real, server, state };
  return parts;
}

function watched(engine: Engine, asked: GenerationRequest, leaver: Leaver): AsyncIterable<GenerationEvent> {
  leaver.generating = true;
  const onStart = (cached: number) => {
    asked.onStart?.(cached);
    leaver.started = true;
    leaver.changed();
  };
  const onEnd = (usage: Parameters<NonNullable<GenerationRequest["onEnd"]>>[0]) => {
    asked.onEnd?.(usage);
    leaver.end();
  };
  const events = engine.generate({ ...asked, onStart, onEnd });
  return (async function* () {
    for await (const event of events) {
      leaver.deltas++;
      leaver.changed();
      yield event;
    }
  })();
}

type Parts = Awaited<ReturnType<typeof setUp>>;

function open(port: number, body: object, ...headers: string[]): RawConnection {
  const text = JSON.stringify({ model: "any", temperature: 0, cache_prompt: false, ...body });
  const lines = [
    `Authorization: Bearer ${testKey}`,
    "Content-Type: application/json",
    `Content-Length: ${text.length}`,
  ];
  const connection = new RawConnection(port);
  connection.closed.catch(() => {});
  connection.write(head("POST /v1/completions HTTP/1.1", ...lines, ...headers) + text);
  return connection;
}

/** Takes a place with streams that go on until the test ends, so that there are always steps. @returns how to end it */
function hold(t: ExecutionContext, { server }: Parts): () => Promise<void> {
  let done = false;
  let connection: RawConnection;
  const running = (async () => {
    while (!done) {
      const body = { prompt: Array(3).fill(holderToken), max_tokens: 1900, stream: true };
      connection = open(server.port, body, "Connection: close");
      connection.socket.on("data", () => {
        connection.received = "";
      });
      await connection.closed;
    }
  })();
  const end = async () => {
    done = true;
    connection.socket.destroy();
    await running;
  };
  t.teardown(end);
  return end;
}

setFlagsFromString("--expose-gc");
const collectGarbage: () => void = runInNewContext("gc");

/** What is reachable. */
async function heldBytes(): Promise<number> {
  // What waits for the loop's next turns, finalizers of native objects among it, is done first.
  for (let turns = 0; turns < 5; turns++) {
    collectGarbage();
    await tick();
  }
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

const lengths: Record<Phase, number> = { queued: 4, prefill: 1500, decode: 5 };

/** Waits until the leaver is in the phase, and a few steps of it are done. */
function reach(phase: Phase, { server, state }: Parts, round: number): Promise<void> {
  const { leaver } = state;
  if (phase === "queued") return leaver.until(() => server.parts.gate.waiting > 0);
  if (phase === "decode") return leaver.until(() => leaver.deltas > round % 7);
  let steps: number | undefined;
  return leaver.until(() => {
    if (!leaver.started) return false;
    steps ??= state.steps;
    return state.steps >= steps + (round % 5);
  });
}

function phaseOf({ engine, server, state }: Parts): Phase | undefined {
  if (!state.leaver.generating) return server.parts.gate.waiting > 0 ? "queued" : undefined;
  const slot = engine.slots().find(({ promptTokens }) => Object.values(lengths).includes(promptTokens));
  return slot && slot.state !== "idle" ? slot.state : undefined;
}

/** So many clients leave in the phase, while others hold places and steps go on. */
async function leave(t: ExecutionContext, phase: Phase, parts: Parts, clients: number): Promise<void> {
  const { server, state } = parts;
  const holders = Array.from({ length: phase === "queued" ? 2 : 1 }, () => hold(t, parts));
  let left = 0;
  let late = 0;
  for (let round = 0; left < clients; round++) {
    if (round > clients * 3) return t.fail(`only ${left} of ${round} clients left while ${phase}`);
    state.leaver = new Leaver();
    const { leaver } = state;
    const body = { prompt: Array(lengths[phase]).fill(leaverToken), max_tokens: 400, stream: round % 2 === 0 };
    const connection = open(server.port, body, "X-Leaver: yes");
    await reach(phase, parts, round);
    if (round % 4 < 2) connection.socket.destroy();
    else connection.socket.resetAndDestroy();
    const closing = await leaver.socketClosed;
    if (leaver.generating) await leaver.over;
    const steps = closing.steps === undefined ? 0 : state.steps - closing.steps;
    t.true(steps <= 2, `${steps} steps until the sequence was free`);
    if (steps === 2) late++;
    t.is(server.parts.gate.waiting, 0);
    if (closing.at === phase) left++;
  }
  // Of a thread that was interrupted between two steps, what it had done before may be known only after that turn.
  t.true(late <= clients / 20, `${late} of ${clients} waited for two steps`);
  await Promise.all(holders.map((end) => end()));
}

for (const phase of ["queued", "prefill", "decode"] as const)
  test.serial(`${each} clients leave in this phase, and each is gone within a step: ${phase}`, async (t) => {
    const parts = await setUp(t);
    const { engine, server } = parts;
    const idle = async () => {
      while (engine.slots().some(({ state }) => state !== "idle") || server.parts.gate.active > 0) await tick();
    };
    const answer = async () => (await collect(engine.generate(request([1, 2, 3], { cacheScope: null })))).content;
    const expected = await answer();
    await leave(t, phase, parts, warm);
    await idle();
    const before = await heldBytes();
    await leave(t, phase, parts, each - warm);
    await idle();
    const grown = ((await heldBytes()) - before) / (each - warm);
    t.true(grown < mostBytes, `${grown} bytes for each client`);
    t.is(server.parts.gate.waiting, 0);
    t.true(engine.slots().every(({ cachedTokens }) => cachedTokens === 0));
    t.is(await answer(), expected);
  });
