// `llama-gguf start`: the server. Everything it does is in main.ts, which is loaded only when asked for.
import type { Command } from "commander";
import { readEnvironment } from "../config.ts";

export function registerStart(program: Command): void {
  program
    .command("start")
    .description("start the server")
    .action(async () => {
      const { runServer } = await import("../main.ts");
      await runServer(readEnvironment());
    });
}
