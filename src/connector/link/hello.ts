import { CAPABILITIES, formatCapabilities } from '../../protocol/capabilities.ts';
import { HEADER } from '../../protocol/headers.ts';
import { SUBPROTOCOL } from '../../protocol/version.ts';

interface HelloOptions {
  readonly version: string;
  readonly name: string | undefined;
  readonly labels: Readonly<Record<string, string>>;
  /** Random, the same for the life of the process. */
  readonly instance: string;
  readonly offload: boolean;
}

/** What this connector says of itself when it opens a link, as headers. */
export function formatHello({ version, name, labels, instance, offload }: HelloOptions): Record<string, string> {
  const pairs = Object.entries(labels).map(([key, value]) => `${encodeURIComponent(key)}=${encodeURIComponent(value)}`);
  return {
    [HEADER.capabilities]: formatCapabilities(CAPABILITIES.filter((each) => each !== 'no-offload' || !offload)),
    [HEADER.protocol]: SUBPROTOCOL,
    [HEADER.version]: version,
    [HEADER.instance]: instance,
    ...(name !== undefined && { [HEADER.name]: encodeURIComponent(name) }),
    ...(pairs.length > 0 && { [HEADER.labels]: pairs.join(',') }),
  };
}
