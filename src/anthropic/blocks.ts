// The content blocks of a conversation (API.md section 12): which may stand where, and the text in them. Refuses media by name.
import { z } from "zod";
import { clip, invalidValue, missing, unsupported } from "../openai/refusals.ts";

const maxBlocks = 1024;

const textPart = z.object({ type: z.string(), text: z.string().nullish() });

const blockField = z.object({
  type: z.string(),
  text: z.string().nullish(),
  thinking: z.string().nullish(),
  id: z.string().nullish(),
  name: z.string().nullish(),
  input: z.record(z.string(), z.unknown()).nullish(),
  tool_use_id: z.string().nullish(),
  content: z.union([z.string(), z.array(textPart).max(maxBlocks)]).nullish(),
  is_error: z.boolean().nullish(),
});

/** A message's content. */
export const contentField = z.union([z.string(), z.array(blockField).max(maxBlocks)]);

/** The system prompt, and what a tool gave back. */
export const textContentField = z.union([z.string(), z.array(textPart).max(maxBlocks)]);

export type Block = z.output<typeof blockField>;
export type TextContent = z.output<typeof textContentField>;

/** A block and where it stands, `messages[1].content[0]`; a message's bare string is one text block. */
export type LocatedBlock = { readonly block: Block; readonly path: string };

export function blocksOf(content: z.output<typeof contentField>, path: string): LocatedBlock[] {
  if (typeof content === "string") return [{ block: { type: "text", text: content }, path }];
  return content.map((block, index) => ({ block, path: `${path}[${index}]` }));
}

/** Blocks are joined by a line break. @throws Failure 400 at the first block that is no text */
export function joinText(content: TextContent | null | undefined, path: string): string {
  if (content === null || content === undefined) return "";
  if (typeof content === "string") return content;
  return content.map((block, index) => textOf({ block, path: `${path}[${index}]` })).join("\n");
}

/** @throws Failure 400 unless it is a text block */
export function textOf({ block, path }: { readonly block: z.output<typeof textPart>; readonly path: string }): string {
  if (block.type !== "text") throw misplaced({ block, path }, "'text'");
  if (typeof block.text !== "string") throw missing(`${path}.text`);
  return block.text;
}

const media: ReadonlySet<string> = new Set(["image", "document", "audio", "video", "file"]);

/** @param expected the types that may stand there */
export function misplaced(
  { block, path }: { readonly block: { readonly type: string }; readonly path: string },
  expected: string,
) {
  if (media.has(block.type)) return unsupported("unsupported_value", path, `${block.type} input is not supported`);
  return invalidValue(path, `expected a block of type ${expected}, got '${clip(block.type, 32)}'`);
}
