// Values of the bench commands' options, checked while the command line is read: a wrong one ends with exit code 2.
import { InvalidArgumentError } from "commander";

export function integer(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= min && value <= max) return value;
    throw new InvalidArgumentError(`Expected a whole number from ${min} to ${max}.`);
  };
}

export function integers(min: number, max: number): (text: string) => number[] {
  return (text) => text.split(",").map(integer(min, max));
}

export function positive(text: string): number {
  const value = Number(text);
  if (/^\d+(\.\d+)?$/.test(text) && value > 0) return value;
  throw new InvalidArgumentError("Expected a number above 0.");
}

export function fractionOption(text: string): number {
  const value = Number(text);
  if (/^\d+(\.\d+)?$/.test(text) && value <= 1) return value;
  throw new InvalidArgumentError("Expected a number from 0 to 1.");
}

/** The address of a server; `/v1` at its end is left out, as the bench adds it. */
export function serverUrl(text: string): URL {
  if (!/^https?:\/\//.test(text) || !URL.canParse(text)) {
    throw new InvalidArgumentError("Expected an address such as http://127.0.0.1:8000.");
  }
  return new URL(`${text.replace(/\/(v1\/?)?$/, "")}/`);
}
