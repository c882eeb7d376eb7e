import { CODINGS } from '../../http/content-coding.ts';
import type { Hello } from '../links/link.ts';

/** What a command says of how its answer may be coded: as its connector can, and nothing to one that cannot. */
export function acceptEncoding({ capabilities }: Hello): { accept_encoding?: string[] } {
  const codings = CODINGS.filter((coding) => capabilities.has(coding));
  return codings.length > 0 ? { accept_encoding: codings } : {};
}
