// EXTRA_ARGS: llama-server flags read as the variables they map to. Knows which flags exist, never what their values mean.

export type FlagValue = { readonly variable: string; readonly flag: string; readonly text: string };
export type ExtraArgs = { readonly values: readonly FlagValue[]; readonly problems: readonly string[] };

type Flag = {
  readonly variables: readonly string[];
  /** The value of a flag that takes none, or that may stand alone. */
  readonly bare?: string;
  /** Values a flag that may stand alone can be followed by; others are not its own. */
  readonly optionalValues?: readonly string[];
  readonly repeatable?: true;
};

const takesValue = (...variables: string[]): Flag => ({ variables });

// Maps, not objects: "valueOf" must not be found.
const flags: ReadonlyMap<string, Flag> = new Map([
  ...named(["-m", "--model"], takesValue("MODEL_PATH")),
  ...named(["-a", "--alias"], takesValue("MODEL_ALIAS")),
  ...named(["-c", "--ctx-size"], takesValue("CTX")),
  ...named(["-np", "--parallel"], takesValue("MAX_CONCURRENT_REQUESTS")),
  ...named(["-ngl", "--gpu-layers", "--n-gpu-layers"], takesValue("NGL")),
  ...named(["-t", "--threads"], takesValue("THREADS")),
  ...named(["-b", "--batch-size"], takesValue("BATCH")),
  ...named(["-ub", "--ubatch-size"], takesValue("UBATCH")),
  ...named(["--temp"], takesValue("DEFAULT_TEMPERATURE")),
  ...named(["--top-p"], takesValue("DEFAULT_TOP_P")),
  ...named(["--top-k"], takesValue("DEFAULT_TOP_K")),
  ...named(["--min-p"], takesValue("DEFAULT_MIN_P")),
  ...named(["--repeat-penalty"], takesValue("DEFAULT_REPEAT_PENALTY")),
  ...named(["-fa", "--flash-attn"], { variables: ["FLASH_ATTN"], bare: "on", optionalValues: ["on", "off", "auto"] }),
  ...named(["-ctk", "--cache-type-k"], takesValue("KV_TYPE_K")),
  ...named(["-ctv", "--cache-type-v"], takesValue("KV_TYPE_V")),
  ...named(["--mlock"], { variables: ["MLOCK"], bare: "true" }),
  ...named(["--mmap"], { variables: ["MMAP"], bare: "true" }),
  ...named(["--no-mmap"], { variables: ["MMAP"], bare: "false" }),
  ...named(["-s", "--seed"], takesValue("SEED")),
  ...named(["-md", "--model-draft"], takesValue("DRAFT_MODEL_PATH")),
  ...named(["--lora"], { variables: ["LORA_PATHS"], repeatable: true }),
  ...named(["--chat-template-file"], takesValue("CHAT_TEMPLATE_FILE")),
  ...named(["-n", "--predict", "--n-predict"], takesValue("DEFAULT_MAX_TOKENS", "MAX_OUTPUT_TOKENS")),
  ...named(["-cb", "--cont-batching", "--jinja", "--metrics", "--slots"], { variables: [], bare: "true" }),
]);

/** Flags with a place of their own in our configuration. */
const refused: ReadonlyMap<string, string> = new Map([
  ["--host", "use HOST"],
  ["--port", "use PORT"],
  ["--api-key", "keys are in AUTH_KEYS_FILE"],
  ["--api-key-file", "use AUTH_KEYS_FILE"],
]);

function named(names: readonly string[], flag: Flag): [string, Flag][] {
  return names.map((name) => [name, flag]);
}

const isFlag = (word: string | undefined): boolean => word !== undefined && /^--?[A-Za-z]/.test(word);

/**
 * @param text words as in a shell; `--flag value` or `--flag=value`
 * @returns values in order (a later one wins), and one line per problem. Problems hold no value of a flag that is not ours.
 */
export function parseExtraArgs(text: string): ExtraArgs {
  const words = splitWords(text);
  if (typeof words === "string") return { values: [], problems: [`EXTRA_ARGS: ${words}`] };
  const values: FlagValue[] = [];
  const problems: string[] = [];
  for (let at = 0; at < words.length; ) at += readFlag(words, at, values, problems);
  return { values: joinRepeated(values), problems };
}

/** Reads the flag at a word. @returns how many words it took */
function readFlag(words: readonly string[], at: number, values: FlagValue[], problems: string[]): number {
  const word = words[at]!;
  const next = words[at + 1];
  const [, name = word, attached] = /^(--?[A-Za-z][^=]*)=(.*)$/s.exec(word) ?? [];
  const flag = flags.get(name);
  if (flag) return readKnown({ name, flag, attached, next }, values, problems);
  if (!isFlag(word)) problems.push(`EXTRA_ARGS: ${JSON.stringify(word)} is not a flag`);
  else if (refused.has(name)) problems.push(`EXTRA_ARGS: ${name} is refused; ${refused.get(name)}`);
  else problems.push(`EXTRA_ARGS: ${name} is not a known flag`);
  // What follows an unknown flag may be its value: it is not judged and, as it may be a secret, not shown.
  return isFlag(word) && attached === undefined && next !== undefined && !isFlag(next) ? 2 : 1;
}

type Occurrence = {
  readonly name: string;
  readonly flag: Flag;
  readonly attached: string | undefined;
  readonly next: string | undefined;
};

function readKnown({ name, flag, attached, next }: Occurrence, values: FlagValue[], problems: string[]): number {
  const takesNext = flag.bare === undefined ? !isFlag(next) : flag.optionalValues?.includes(next ?? "");
  const text = attached ?? (takesNext ? next : flag.bare);
  if (!text) problems.push(`EXTRA_ARGS: ${name} needs a value`);
  else if (attached !== undefined && flag.bare !== undefined && !flag.optionalValues) {
    problems.push(`EXTRA_ARGS: ${name} takes no value`);
  } else for (const variable of flag.variables) values.push({ variable, flag: name, text: translate(variable, text) });
  return attached === undefined && takesNext && next !== undefined ? 2 : 1;
}

/** llama-server's `-n -1` means no limit, which MAX_OUTPUT_TOKENS writes as 0. */
const translate = (variable: string, text: string): string =>
  variable === "MAX_OUTPUT_TOKENS" && text === "-1" ? "0" : text;

function joinRepeated(values: readonly FlagValue[]): FlagValue[] {
  const isRepeatable = ({ flag }: FlagValue) => flags.get(flag)!.repeatable;
  const repeated = values.filter(isRepeatable);
  const rest = values.filter((value) => !isRepeatable(value));
  if (repeated.length === 0) return rest;
  return [...rest, { ...repeated[0]!, text: repeated.map((value) => value.text).join(",") }];
}

// One piece of a word: plain characters, an escaped one, '…', "…", or the white space between words.
const piece = /(\s+)|\\([\s\S])|'([^']*)'|"((?:[^"\\]|\\[\s\S])*)"|([^\s\\'"]+)/y;

/** Words as a shell would split them, nothing expanded. @returns a problem in words when a quote or escape is open */
function splitWords(text: string): string[] | string {
  const words: string[] = [];
  let word: string | undefined;
  for (piece.lastIndex = 0; piece.lastIndex < text.length; ) {
    const match = piece.exec(text);
    if (!match) return "a quote is not closed, or a backslash ends the text";
    const [, space, escaped, single, double, plain] = match;
    if (space === undefined) {
      word = (word ?? "") + (escaped ?? single ?? double?.replace(/\\(["\\$`])/g, "$1") ?? plain);
    } else if (word !== undefined) {
      words.push(word);
      word = undefined;
    }
  }
  return word === undefined ? words : [...words, word];
}
