// Prompt beginnings over a restart (PREFIX_CACHE_PERSIST): saves the sequences used last when the server drains, and puts them back
// when it has loaded the same model the same way. A file that does not fit is left alone; it costs a log line, never a start.
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import type { Config } from "../config.ts";
import { monotonicMs } from "../health/heartbeat.ts";
import type { Logger } from "../telemetry/log.ts";
import type { NativeContext } from "./addon.ts";
import { PrefixFileReader, PrefixFileWriter, type SavedPrefix } from "./prefix-file.ts";
import type { Sequence, Sequences } from "./sequences.ts";

export type KeptPrefixesOptions = {
  readonly path: string;
  /** What a state depends on: it is put back only where this is equal. Plain JSON. */
  readonly identity: object;
  readonly context: NativeContext;
  /** Positions of one sequence. */
  readonly contextTokens: number;
  readonly log: Logger;
};

/** Undefined unless PREFIX_CACHE and PREFIX_CACHE_PERSIST say so. @param model what else states depend on: file, build, device, size */
export function keptPrefixes(
  config: Config,
  model: object,
  options: Pick<KeptPrefixesOptions, "context" | "contextTokens" | "log">,
): KeptPrefixes | undefined {
  if (!config.prefixCache || !config.prefixCachePersist) return undefined;
  const { kvTypeK, kvTypeV, kvLayout, flashAttn, loraPaths, prefixCacheScope } = config;
  const settings = { kvTypeK, kvTypeV, kvLayout, flashAttn, loraPaths, prefixCacheScope };
  // As it is read back: without what JSON leaves out.
  const identity = JSON.parse(JSON.stringify({ ...model, ...settings }));
  return new KeptPrefixes({ ...options, path: join(config.dataDir, "prefix-cache.bin"), identity });
}

/** Bound of the file. */
const mostBytes = 2 ** 30;
/** Fewer tokens are evaluated sooner than read. */
const leastTokens = 32;

export class KeptPrefixes {
  readonly #options: KeptPrefixesOptions;

  constructor(options: KeptPrefixesOptions) {
    this.#options = options;
  }

  /** Saves what idle sequences hold, until the time or the bound is reached. Only while no step runs. Never throws. */
  async save(sequences: Sequences, withinMs: number): Promise<void> {
    const { path, identity, log } = this.#options;
    const began = monotonicMs();
    const late = () => monotonicMs() - began > withinMs;
    try {
      const writer = await PrefixFileWriter.create(path, identity);
      try {
        const saved = await this.#saveInto(writer, sequences.idle(), late);
        await writer.finish();
        log.info({ path, ...saved, ms: Math.round(monotonicMs() - began) }, "prompt beginnings saved");
      } catch (error) {
        await writer.abandon();
        throw error;
      }
    } catch (error) {
      log.warn({ err: error, path }, "prompt beginnings could not be saved");
    }
  }

  async #saveInto(writer: PrefixFileWriter, hottestFirst: readonly Sequence[], late: () => boolean) {
    const chosen: Sequence[] = [];
    let bytes = 0;
    for (const sequence of hottestFirst) {
      if (late()) break;
      if (sequence.length < leastTokens || chosen.some((other) => saysLittleMore(sequence, other))) continue;
      const checkpointBytes = sequence.checkpoints.reduce((sum, { state }) => sum + state.byteLength, 0);
      const room = mostBytes - bytes - checkpointBytes;
      const state = room > 0 ? await this.#options.context.saveState(sequence.id, false, room) : null;
      if (!state) continue;
      const { scope, checkpoints } = sequence;
      const prefix = { scope: scope!, tokens: sequence.tokens.slice(0, sequence.length), state, checkpoints };
      if (!(await writer.add(prefix, late))) break;
      chosen.push(sequence);
      bytes += state.byteLength + checkpointBytes;
    }
    return { prefixes: chosen.length, tokens: chosen.reduce((sum, { length }) => sum + length, 0), bytes };
  }

  /** Puts back what the file holds, as long as there are empty sequences. Only while no step runs. Never throws. */
  async restore(sequences: Sequences): Promise<void> {
    const { path, log } = this.#options;
    try {
      const reader = await PrefixFileReader.open(path);
      try {
        await this.#restoreFrom(reader, sequences);
      } finally {
        await reader.close();
      }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") log.info({ path }, "no saved prompt beginnings");
      else log.warn({ err: error, path }, "saved prompt beginnings could not be read");
    }
  }

  async #restoreFrom(reader: PrefixFileReader, sequences: Sequences): Promise<void> {
    const { path, identity, log } = this.#options;
    const theirs = await reader.identity();
    if (!isDeepStrictEqual(theirs, identity)) {
      log.info({ path, theirs, ours: identity }, "saved prompt beginnings are of another model or setting: ignored");
      return;
    }
    let [prefixes, tokens] = [0, 0];
    // From the highest id down: new requests take the lowest, and those that run together should be neighbours.
    for (const sequence of sequences.all.toReversed()) {
      const prefix = await reader.next();
      if (prefix === undefined) break;
      if (prefix === "damaged" || !(await this.#putBack(prefix, sequence, sequences))) {
        log.warn({ path }, "saved prompt beginnings are damaged: the rest is ignored");
        break;
      }
      prefixes++;
      tokens += prefix.tokens.length;
    }
    log.info({ path, prefixes, tokens }, "prompt beginnings restored");
  }

  async #putBack(prefix: SavedPrefix, sequence: Sequence, sequences: Sequences): Promise<boolean> {
    const { context, contextTokens } = this.#options;
    const { length } = prefix.tokens;
    if (length >= contextTokens || prefix.checkpoints.some((checkpoint) => checkpoint.length >= length)) return false;
    const loaded = await context.loadState(sequence.id, prefix.state, false);
    if (loaded) sequences.adopt(sequence, prefix);
    else sequences.empty(sequence);
    return loaded;
  }
}

/** Nine tenths of it are the beginning of the other one. */
function saysLittleMore(sequence: Sequence, other: Sequence): boolean {
  if (sequence.scope !== other.scope) return false;
  const most = Math.min(sequence.length, other.length);
  let common = 0;
  while (common < most && sequence.tokens[common] === other.tokens[common]) common++;
  return common >= sequence.length * 0.9;
}
