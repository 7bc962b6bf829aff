// The request field `lora` (API.md section 5): the scales of the server's LoRA adapters for this request.
import { z } from "zod";
import { decimal } from "./fields.ts";
import { invalidValue } from "./refusals.ts";

export const loraField = z.array(z.object({ id: z.int(), scale: decimal(-10, 10) })).max(16);

/**
 * @param serverScales of the loaded adapters by id; what a request without the field gets
 * @returns a scale for each adapter: 0 for those the field does not list, the last one for those it lists twice
 * @throws Failure invalid_value naming the entry whose id no adapter has
 */
export function resolveScales(
  field: z.output<typeof loraField> | undefined,
  serverScales: readonly number[],
): readonly number[] {
  if (!field) return serverScales;
  const scales = serverScales.map(() => 0);
  for (const [index, { id, scale }] of field.entries()) {
    if (id < 0 || id >= scales.length) throw invalidValue(`lora[${index}].id`, describeIds(scales.length));
    scales[id] = scale;
  }
  return scales;
}

function describeIds(count: number): string {
  if (count === 0) return "no adapter is loaded";
  return count === 1 ? "the only adapter has the id 0" : `the adapters have the ids 0 to ${count - 1}`;
}
