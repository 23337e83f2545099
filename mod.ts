/**
 * What another program may import.
 *
 * @module
 */

export { EXIT, OmertaError } from "./lib/core/errors.ts";
