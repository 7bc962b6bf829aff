// The error of a configuration that cannot be used. It carries every problem found, never a secret value.

/** Ends the program with exit code 2; `problems` has one line per problem. */
export class ConfigError extends Error {
  readonly problems: readonly string[];
  readonly exitCode = 2;

  constructor(problems: readonly string[]) {
    const heading = problems.length === 1 ? "Configuration problem" : `${problems.length} configuration problems`;
    super(`${heading}:\n${problems.map((problem) => `  - ${problem}`).join("\n")}`);
    this.name = "ConfigError";
    this.problems = problems;
  }
}
