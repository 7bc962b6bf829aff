// Tests that need something this machine may lack. They are skipped with the reason in their title, which the runner prints.
import test, { type ImplementationFn } from "ava";

/**
 * Registers a test that runs only when `condition` holds.
 * @param reason what is missing otherwise, for example "no GPU here"
 */
export function testIf(condition: boolean, reason: string, title: string, run: ImplementationFn<[], unknown>): void {
  if (condition) test(title, run);
  else test.skip(`${title} (skipped: ${reason})`, run);
}
