import { isCertificateError } from '../../http/connection-error.ts';
import { nameProxy } from '../../http/proxy/proxy-error.ts';
import { type ErrorCode, type RelayClient, RelayError } from '../../index.ts';
import { parseMac } from '../../protocol/mac.ts';
import { escapeForTerminal } from '../escape.ts';
import { formatSince } from './format.ts';
import { NearestNames } from './nearest.ts';

/** What an error happened in. */
export interface ErrorContext {
  readonly client: Pick<RelayClient, 'datasets'>;
  /** The connector and the dataset that were asked for, where the command names them. */
  readonly mac?: string | undefined;
  readonly dataset?: string | undefined;
  readonly now?: Date | undefined;
  /** The proxy by which the router is reached. */
  readonly proxy?: URL | undefined;
  /** What is left of the output for another run to go on with: `3 MB of 10 MB are there`. */
  readonly partial?: string | undefined;
}

/** How long looking for better advice may hold up an error, in milliseconds. */
const ADVICE_MS = 2000;

/** What may pass when the user wants it to. */
const GOES_ON: ReadonlySet<ErrorCode> = new Set(['interrupted', 'timed_out', 'output_failed']);

/** The same error, its message completed with what to do next, as far as an app can know it. */
export async function explainError(error: RelayError, context: ErrorContext): Promise<RelayError> {
  const words = await findWords(error, context);
  const goesOn = context.partial !== undefined && (error.retryable || GOES_ON.has(error.code));
  const message = goesOn ? `${words}\nRun the same command again to go on: ${context.partial}.` : words;
  return new RelayError(error.code, message, { cause: error, details: error.details });
}

async function findWords(error: RelayError, context: ErrorContext): Promise<string> {
  const { dataset = 'the dataset', now = new Date() } = context;
  const mac = nameOf(context.mac);
  const { message } = error;
  const advise = (advice: string): string => `${message}\n${advice}`;
  switch (error.code) {
    case 'connector_offline':
      return explainOffline(error, mac, now);
    case 'router_unreachable':
      return isCertificateError(error.cause)
        ? advise('--ca FILE trusts a certificate of your own.')
        : nameWay(message, context.proxy);
    case 'forbidden':
    case 'unauthorized':
      return nameWay(message, context.proxy);
    case 'connector_not_found':
      return advise('The router never saw that connector. `relay app connectors` lists those that it knows.');
    case 'dataset_not_found':
      return advise(await suggestNames(context));
    case 'dataset_too_large':
      return advise(`\`relay app request-stream ${mac} ${quote(dataset)}\` takes files of any size.`);
    case 'offload_unavailable':
      return advise(`Use \`relay app request-stream ${mac} ${quote(dataset)}\`.`);
    case 'store_full':
      return advise('Make room in the store (--store-max of the router), or use request-stream, which needs none.');
    case 'dataset_changed':
      return advise(
        context.partial === undefined
          ? 'Ask again once nobody writes to it; better still, have it written elsewhere and renamed when complete. Of one that only grows, --on-change prefix gets what is there.'
          : `--no-resume starts over with the dataset as it is now; of what it was, ${context.partial}.`,
      );
    case 'dataset_too_recent':
      return advise(
        '--wait 10m waits for it, as long as nobody writes to it. The time that it has to be left alone is the longer one of --min-age here and of its connector.',
      );
    case 'dataset_unreadable':
      return advise(
        'On the node, let the user that runs `relay connector` read the file, and close it where another program has it open.',
      );
    case 'data_dir_unavailable':
      return advise('On the node, see that the directory given by --data-dir is there (a disk not mounted?).');
    case 'request_timeout':
      if (error.details.gateway_status !== undefined) {
        return advise(
          `Nothing comes by request-sync until the router has it all, and the gateway allows no silence as long as that. Use \`relay app request-stream ${mac} ${quote(dataset)}\`, or request-offload.`,
        );
      }
      return advise('The node is connected, but slow or stuck: its log says more. --retry asks more often.');
    case 'unverified':
      return advise('Without --verify such content is accepted by its size alone.');
    case 'timed_out':
      return advise('A longer --timeout, or none, gives it more time.');
    default:
      return message;
  }
}

function explainOffline({ message, details }: RelayError, mac: string, now: Date): string {
  if (details.last_seen === null) {
    return `${mac} has never been connected to this router\nIs the MAC address right? \`relay app connectors\` lists those that were. --wait 10m waits for it to come.`;
  }
  const what =
    details.last_seen === undefined ? message : `${mac} is offline, last seen ${formatSince(details.last_seen, now)}`;
  return `${what}\nSee that \`relay connector\` runs on that machine and can reach the router. --wait 10m waits for it to come back.`;
}

/** What a proxy in between may have to do with it, unless it is told already. */
function nameWay(message: string, proxy: URL | undefined): string {
  const isTold = proxy === undefined || message.includes(nameProxy(proxy));
  return isTold
    ? message
    : `${message}\nThe request went through the proxy ${nameProxy(proxy)}; --proxy none goes without.`;
}

/** The connector in its one written form. */
function nameOf(mac: string | undefined): string {
  const parsed = parseMac(mac ?? '');
  return parsed instanceof RelayError ? (mac ?? 'the connector') : parsed;
}

/** Names that come near, as far as the listing gets in time. */
async function suggestNames({ client, mac, dataset }: ErrorContext): Promise<string> {
  const all = `\`relay app datasets ${nameOf(mac)}\` lists what there is.`;
  if (mac === undefined || dataset === undefined) return all;
  const nearest = new NearestNames(dataset);
  try {
    for await (const { name } of client.datasets(mac, { signal: AbortSignal.timeout(ADVICE_MS) })) nearest.add(name);
  } catch {
    // Advice is worth no second error; what was found until now still is some.
  }
  const [first, ...others] = nearest.names.map((name) => quote(name));
  if (first === undefined) return all;
  return others.length === 0
    ? `Is ${first} meant? ${all}`
    : `Is one of these meant: ${[first, ...others].join(', ')}? ${all}`;
}

/** A name as a shell takes it, and safe to show. */
function quote(name: string): string {
  const shown = escapeForTerminal(name);
  return /^[\w./@%+=:,-]+$/u.test(shown) ? shown : `'${shown.replaceAll("'", String.raw`'\''`)}'`;
}
