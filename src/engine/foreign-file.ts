// Says what a file probably is that was given as a model but is no GGUF. Guesses from its first bytes, for messages only.

const kinds: ReadonlyArray<readonly [start: RegExp, what: string]> = [
  [/^$/, " but empty"],
  [
    /^version https:\/\/git-lfs/,
    " but a Git LFS pointer: the model itself was not downloaded; git lfs pull fetches it",
  ],
  [/^\s*<(!doctype|html|head|\?xml)/i, " but a web page: the download went to a login or error page"],
  [/^PK../s, " but a zip archive, probably a PyTorch checkpoint; it must be converted to GGUF"],
  [/^[\s\S]{8}\{"/, " but probably a safetensors file; it must be converted to GGUF"],
  [/^(lmgg|tjgg|fmgg|algg)/, " but an old GGML file; it must be converted to GGUF"],
];

/** @param start the first bytes of the file @returns the rest of the sentence "… is not a GGUF file" */
export function describeForeign(start: Buffer): string {
  const text = start.toString("latin1");
  const kind = kinds.find(([pattern]) => pattern.test(text));
  if (kind) return kind[1];
  const utf8 = start.toString("utf8");
  // The last character may be cut, so the replacement character is allowed at the end only.
  if (/^[^\p{Cc}\uFFFD]*$/u.test(utf8.replace(/[\t\r\n]/g, " ").replace(/\uFFFD+$/, ""))) {
    return " but text, likely an LFS pointer or web page saved in its place";
  }
  return `: it begins with bytes ${start.subarray(0, 4).toString("hex")}, not with "GGUF"`;
}
