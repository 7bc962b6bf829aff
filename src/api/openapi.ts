// GET /openapi.json: the API as an OpenAPI 3.1 document. It depends on nothing but the program, so it is made once, before anybody
// is served: making it takes longer than a request may hold up the others.
import { build } from "../build.ts";
import { jsonType } from "../http/failures.ts";
import type { Handler } from "./handler.ts";
import { createDocument } from "./openapi/document.ts";
import { operations } from "./openapi/operations.ts";

const document = JSON.stringify(createDocument(operations, build.version));

export const openapi: Handler = (ctx) => {
  ctx.type = jsonType;
  ctx.body = document;
};
