// Sampling fields that most requests leave alone (API.md section 5). What a request leaves out stays llama.cpp's default, so that the
// engine can tell a plain request by its settings.
import { z } from "zod";
import type { Sampling } from "../engine/engine.ts";
import { bytes, checked, decimal, integer } from "./fields.ts";

/** llama.cpp's names and letters. */
const samplers: ReadonlyMap<string, string> = new Map([
  ["e", "penalties"],
  ["d", "dry"],
  ["s", "top_n_sigma"],
  ["k", "top_k"],
  ["y", "typ_p"],
  ["p", "top_p"],
  ["m", "min_p"],
  ["x", "xtc"],
  ["t", "temperature"],
  ["i", "infill"],
]);
const samplerNames = [...samplers.values()];

const samplerLetters = checked(z.string().max(16), (letters) => {
  // Longer ones are refused for their length.
  if ([...letters.slice(0, 17)].every((letter) => samplers.has(letter))) return undefined;
  return { kind: "invalid_value", rule: `expected letters of ${[...samplers.keys()].join("")}` };
});

export const rareSamplingFields = {
  typical_p: decimal(0, 1).optional(),
  top_n_sigma: decimal(-1, 100).optional(),
  dynatemp_range: decimal(0, 2).optional(),
  dynatemp_exponent: decimal(0, 10).optional(),
  xtc_probability: decimal(0, 1).optional(),
  xtc_threshold: decimal(0, 1).optional(),
  dry_multiplier: decimal(0, 10).optional(),
  dry_base: decimal(1, 10).optional(),
  dry_allowed_length: integer(0, 1000).optional(),
  dry_penalty_last_n: integer(0, 1_000_000).optional(),
  dry_sequence_breakers: z.array(bytes(1, 64)).min(1).max(32).optional(),
  mirostat: integer(0, 2).optional(),
  mirostat_tau: decimal(0, 100).optional(),
  mirostat_eta: decimal(0, 1).optional(),
  samplers: z.union([samplerLetters, z.array(z.enum(samplerNames)).max(16)]).optional(),
};

type Fields = z.output<z.ZodObject<typeof rareSamplingFields>>;

/** Only what was asked for. */
export function rareSampling(fields: Fields): Partial<Sampling> {
  const settings: Partial<Sampling> = {
    typicalP: fields.typical_p,
    topNSigma: fields.top_n_sigma,
    dynatempRange: fields.dynatemp_range,
    dynatempExponent: fields.dynatemp_exponent,
    xtcProbability: fields.xtc_probability,
    xtcThreshold: fields.xtc_threshold,
    dryMultiplier: fields.dry_multiplier,
    dryBase: fields.dry_base,
    dryAllowedLength: fields.dry_allowed_length,
    dryPenaltyLastN: fields.dry_penalty_last_n,
    drySequenceBreakers: fields.dry_sequence_breakers,
    mirostat: fields.mirostat as 0 | 1 | 2 | undefined,
    mirostatTau: fields.mirostat_tau,
    mirostatEta: fields.mirostat_eta,
    samplers: typeof fields.samplers === "string" ? namesOf(fields.samplers) : fields.samplers,
  };
  return Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined));
}

const namesOf = (letters: string): string[] => [...letters].map((letter) => samplers.get(letter)!);
