// Writes the documents that follow from tables: .env.example, and the tables of variables and of failures in README.md.
// Renders text only; src/cli/check.ts reads and writes the files.
import { table } from "../config.ts";
import { catalogue } from "../errors.ts";
import type { Setting } from "./setting.ts";

const variables: readonly (readonly [string, Setting])[] = Object.entries<Setting>(table);

/** What is allowed, for people; an obsolete variable allows anything. */
function allowedOf(setting: Setting): string {
  return "obsolete" in setting ? "obsolete" : setting.kind.allowed;
}

/** The default in words, or undefined where unset means just that. */
function defaultOf(setting: Setting): string | undefined {
  if ("default" in setting) return setting.default === "" ? "empty" : setting.default;
  if ("derived" in setting) return setting.derived;
  return "kind" in setting ? setting.whenUnset : undefined;
}

const meaningOf = ({ help, secret }: Setting) => (secret ? `${help} (secret)` : help);

export function renderEnvExample(): string {
  const blocks = variables.map(([name, setting]) => {
    const fallback = defaultOf(setting);
    const allowed = `# ${allowedOf(setting)}${fallback === undefined ? "" : `; default: ${fallback}`}`;
    return `# ${meaningOf(setting)}\n${allowed}\n#${name}=${"default" in setting ? setting.default : ""}\n`;
  });
  return [
    "# Every variable of the configuration, generated from src/config.ts: npm run check -- env --write",
    "# Copy this file to .env and set what should differ from its default. The real environment wins over .env.\n",
    ...blocks,
  ].join("\n");
}

export function renderConfigTable(): string {
  const rows = variables.map(([name, setting]) => [
    name,
    allowedOf(setting),
    defaultOf(setting) ?? "–",
    meaningOf(setting),
  ]);
  return renderTable(["Variable", "Allowed", "Default", "Meaning"], rows);
}

type FailureEntry = { readonly status: number; readonly type: string; readonly code?: string; readonly when: string };

export function renderFailureTable(): string {
  const rows = Object.entries<FailureEntry>(catalogue)
    .map(([kind, { status, type, code, when }]) => [String(status), type, code ?? kind, when])
    .sort((a, b) => Number(a[0]) - Number(b[0]));
  return renderTable(["Status", "type", "code", "When"], rows);
}

function renderTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}

/**
 * @param readme its current text
 * @returns the text with both tables as they should be
 * @throws Error when a marker is missing
 */
export function renderReadme(readme: string): string {
  return replaceSection(replaceSection(readme, "config", renderConfigTable()), "failures", renderFailureTable());
}

function replaceSection(document: string, name: string, content: string): string {
  const [begin, end] = [`<!-- ${name}:begin -->`, `<!-- ${name}:end -->`];
  const from = document.indexOf(begin);
  const to = document.indexOf(end, from);
  if (from < 0 || to < 0)
    throw new Error(`README.md lacks the lines ${begin} and ${end}, between which a table belongs`);
  return `${document.slice(0, from + begin.length)}\n${content}\n${document.slice(to)}`;
}
