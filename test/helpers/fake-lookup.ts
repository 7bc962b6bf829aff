// A NativePromptLookup that takes what followed the last two tokens where they stood before, as late as possible.
import type { NativePromptLookup } from "../../src/engine/addon.ts";

export const fakeLookup: NativePromptLookup = {
  lookUp(tokens, last, most) {
    const text = [...tokens, last];
    const before = text.at(-2);
    let at = text.length - 2;
    while (at > 0 && (text[at] !== last || text[at - 1] !== before)) at--;
    return Int32Array.from(at > 0 ? text.slice(at + 1, at + 1 + most) : []);
  },
};
