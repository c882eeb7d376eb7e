import * as z from 'zod';
import { mac } from './fields.ts';

/** What a token lets its holder be. */
export const TOKEN_ROLES = ['connector', 'app', 'monitor'] as const;
export type TokenRole = (typeof TOKEN_ROLES)[number];

/** Any MAC address at all, where a token names one. */
export const ANY_MAC = '*';

/** Seconds since 1970, as JWTs have them (RFC 7519 §2, NumericDate). */
const numericDate = z.number().finite();

/**
 * The claims of a token (RFC 7519). `macs` are the connectors that it covers, `*` for all; `datasets` are globs of names, in
 * which `*` stops at a slash and `**` does not.
 */
export const tokenClaims = z.object({
  role: z.enum(TOKEN_ROLES),
  macs: z.array(z.union([z.literal(ANY_MAC), mac])).min(1),
  datasets: z.array(z.string().min(1)).optional(),
  exp: numericDate.optional(),
  iat: numericDate.optional(),
  nbf: numericDate.optional(),
  jti: z.string().optional(),
});
export type TokenClaims = z.infer<typeof tokenClaims>;
