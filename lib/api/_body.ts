/**
 * Reading what a client has sent.
 *
 * @module
 */

import type { Context } from "hono";
import type { z } from "zod";
import { EXIT, OmertaError } from "../core/errors.ts";

/**
 * The body of a request, checked.
 *
 * @throws {OmertaError} `bad-request`.
 */
export async function bodyOf<T>(c: Context, schema: z.ZodType<T>): Promise<T> {
  const body = schema.safeParse(await c.req.json().catch(() => undefined));
  if (body.success) return body.data;
  const issue = body.error.issues[0];
  throw new OmertaError(
    "bad-request",
    `Cannot read the request: ${issue?.path.join(".") || "body"}: ${issue?.message}`,
    { exit: EXIT.usage },
  );
}
