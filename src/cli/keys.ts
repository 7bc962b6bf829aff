// `llama-gguf keys`: makes, lists, removes and replaces API keys in the key file. Results go to stdout, notes to stderr. It shows a key
// once, when it is made, and never signals a server.
import { type Command, Option } from "commander";
import { prepareDataDir } from "../config/data-dir.ts";
import { loadConfig, readEnvironment } from "../config.ts";
import { addKey, isExpired, removeKey, rotateKey } from "../keys/key-edit.ts";
import { changeKeyFile } from "../keys/key-file-writer.ts";
import { joinLines, type KeyLines, splitLines } from "../keys/key-lines.ts";
import { generateKey, readKeyFile } from "../keys/key-store.ts";
import * as read from "./key-options.ts";
import { describeKeys } from "./key-table.ts";

type Common = { readonly file?: string; readonly quiet?: boolean };
type Named = Common & { readonly name: string };
type Limited = { readonly limits?: string; readonly rateLimit?: string; readonly expires?: string };
type Generate = Named & Limited & { readonly hashed?: boolean };
type Rotate = Generate & { readonly keepOld?: number };

const reloadHint =
  "A running server does not know yet: send it SIGHUP (kill -HUP <pid>, docker kill --signal=HUP <container>) or POST /reload.";

export function registerKeys(program: Command): void {
  const keys = program
    .command("keys")
    .description("make, list, remove and replace API keys")
    .option("--file <path>", "the key file; otherwise AUTH_KEYS_FILE", read.path)
    .option("--quiet", "print results only, no notes")
    .configureHelp({ showGlobalOptions: true });
  const named = (name: string, description: string) =>
    keys.command(name).description(description).requiredOption("--name <id>", "key id", read.keyId);
  withLimits(named("generate", "make a key and print it, this once"))
    .option("--expires <when>", `expiry: ${read.lifetimeForms}`, read.lifetime)
    .addOption(hashedOption())
    .addOption(hashOption())
    .action((_, command: Command) => generate(command.optsWithGlobals()));
  keys
    .command("list")
    .description("list the keys: id, limits, expiry, status; never a key itself")
    .action((_, command: Command) => list(command.optsWithGlobals()));
  named("remove", "remove every key of an id").action((_, command: Command) => remove(command.optsWithGlobals()));
  withLimits(named("rotate", "replace the keys of an id by a new one, which is printed this once"))
    .option("--expires <when>", `expiry: ${read.lifetimeForms}, or never; otherwise as before`, read.lifetimeOrNever)
    .option("--keep-old <time>", `let the old key count for ${read.durationForms} more`, read.duration)
    .addOption(hashedOption())
    .addOption(hashOption())
    .option("--no-hashed", "store the key itself, also if the old one was stored as its digest")
    .action((_, command: Command) => rotate(command.optsWithGlobals()));
}

const hashedOption = () => new Option("--hashed", "store only the SHA-256 of the key");
const hashOption = () => new Option("--hash", "the same as --hashed").implies({ hashed: true }).hideHelp();

function withLimits(command: Command): Command {
  return command
    .addOption(
      new Option("--limits <R/T/C>", "requests and tokens per minute, requests at once; an empty part = the default")
        .argParser(read.limits)
        .conflicts("rateLimit"),
    )
    .addOption(new Option("--rate-limit <R>", "requests per minute").argParser(read.rateLimit));
}

async function generate(options: Generate): Promise<void> {
  const key = generateKey();
  const { name: keyId, hashed = false, limits = options.rateLimit ?? "", expires: expiry = "" } = options;
  if (options.file === undefined) prepareDataDir(loadConfig(readEnvironment()).dataDir);
  const changed = await change(options, (file) => addKey(file, { keyId, key, hashed, limits, expiry }));
  showKey(key, changed, options);
}

async function rotate(options: Rotate): Promise<void> {
  const key = generateKey();
  const { name: keyId, hashed, limits, rateLimit: requestsPerMinute, expires: expiry, keepOld } = options;
  const keepOldUntilMs = keepOld === undefined ? undefined : Date.now() + keepOld;
  const changed = await change(options, (file) =>
    rotateKey(file, { keyId, key, hashed, limits, requestsPerMinute, expiry, keepOldUntilMs }),
  );
  showKey(key, changed, options);
}

async function remove(options: Named): Promise<void> {
  await change(options, (file) => removeKey(file, options.name));
  note(options, `Removed ${options.name}. ${reloadHint}`);
}

function list(options: Common): void {
  const path = keyFilePath(options);
  const found = readKeyFile(path);
  if (!found) {
    note(
      options,
      `There is no key file ${path} yet; 'keys generate --name <id>' makes it, and so does the first start.`,
    );
    console.log("0 valid keys");
    return;
  }
  if (found.readableByOthers) warn(`${path} can be read by every user of this machine; chmod 600 it`);
  const { table, problems } = describeKeys(found.text, Date.now());
  console.log(table);
  for (const problem of problems) note(options, problem);
}

/** @returns the new content @throws Error when the file cannot be changed so */
async function change(options: Named, edit: (file: KeyLines) => KeyLines): Promise<KeyLines> {
  // The file's content changes at once or not at all, whenever Ctrl-C comes: its handler waits for the end of the change.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, (_, number) => process.exit(128 + number));
  const rewrite = (bytes: Buffer = Buffer.alloc(0)) => joinLines(edit(splitLines(bytes)));
  return splitLines(await changeKeyFile(keyFilePath(options), rewrite, { warn }));
}

/** Without --file, where the server looks. @throws ConfigError */
function keyFilePath({ file }: Common): string {
  return file ?? loadConfig(readEnvironment()).config.authKeysFile;
}

function showKey(key: string, file: KeyLines, options: Named): void {
  console.log(key);
  if (isExpired(file, options.name, Date.now())) warn(`the new key of ${options.name} has expired already`);
  note(options, `This is the new key of ${options.name}; it is not shown again. ${reloadHint}`);
}

const warn = (text: string): void => console.error(`warning: ${text}`);

function note({ quiet }: Common, text: string): void {
  if (!quiet) console.error(text);
}
