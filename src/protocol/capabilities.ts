/**
 * What a connector may say that it can do beyond plain JSON. The router uses only what was said; unknown words are ignored.
 *
 * - `binary`: sends binary bodies.
 * - `offset`: names offsets, and can begin at one with `if_match`; so a command may be sent to it again.
 * - `range`: honours `offset` and `length`.
 * - `parallel`: sends chunks side by side, in any order, within the window that the router names.
 * - `multipart`: uploads to the store in parts.
 * - `stat`, `list`, `digest`: answers these commands; `digest` also gives a digest with a transfer when asked.
 * - `list-filter`: honours `prefix`, `glob` and `delimiter` in `list`.
 * - `prefix`: can hold to the first bytes of a dataset that grows, see `on_change` of the commands.
 * - `min-age`: honours `min_age`, and fails with `dataset_too_recent` or leaves out of a listing what changed since.
 * - `cancel`: understands `cancel`.
 * - `progress`: reports how far an upload to the store is, at least every ten seconds.
 * - `receiving`: wants to hear when a binary body of its begins to arrive.
 * - `inline`: may answer over its WebSocket with results of up to the `inline_max` of the command.
 * - `no-offload`: refuses `get_dataset_offload`, whatever the dataset, so that it need not be asked.
 * - `heartbeat`: POSTs heartbeats for its SSE link.
 * - `zstd`, `gzip`: may send binary bodies with this content coding, where the command has it in `accept_encoding`.
 */
export const CAPABILITIES = [
  'binary',
  'offset',
  'range',
  'parallel',
  'multipart',
  'stat',
  'list',
  'list-filter',
  'digest',
  'prefix',
  'min-age',
  'cancel',
  'progress',
  'receiving',
  'inline',
  'no-offload',
  'heartbeat',
  'zstd',
  'gzip',
] as const;

export type Capability = (typeof CAPABILITIES)[number];

/** Reads a comma-separated list; what is unknown, empty or repeated is left out. */
export function parseCapabilities(text: string | null | undefined): ReadonlySet<Capability> {
  const words = new Set((text ?? '').split(',').map((word) => word.trim().toLowerCase()));
  return new Set(CAPABILITIES.filter((capability) => words.has(capability)));
}

/** Writes the list for `Relay-Capabilities`. */
export function formatCapabilities(capabilities: Iterable<Capability>): string {
  return [...capabilities].join(', ');
}
