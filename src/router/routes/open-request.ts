import type { DatasetName } from '../../protocol/dataset-name.ts';
import type { OnChange } from '../../protocol/fields.ts';
import type { Mac } from '../../protocol/mac.ts';
import type { Context } from '../context.ts';
import type { RequestKind, RequestRecord } from '../request-log.ts';
import { confirmMinAge } from './min-age.ts';
import type { Call } from './route.ts';

/** What an app asks for, and for how long. */
interface RequestOrder {
  readonly kind: RequestKind;
  readonly mac: Mac;
  readonly dataset: DatasetName;
  readonly onChange?: OnChange | undefined;
  readonly minAgeS?: number | undefined;
  /** Its app comes back for the outcome. */
  readonly keep: boolean;
  /** It goes on without its app's connection. By default it is cancelled when that closes. */
  readonly outlives?: boolean;
}

/**
 * Makes a call a request, which is in the log and can be followed and cancelled. One that outlives its answer keeps its place
 * among those that are held until it ends.
 * @throws {RelayError} overloaded when the connector has as many as it may: what is refused in masses must not push the
 * others out of the log.
 */
export function openRequest(context: Context, call: Call, order: RequestOrder): RequestRecord {
  const { response, id, grant, slot } = call;
  const { kind, mac, dataset, onChange, minAgeS = 0, outlives = false } = order;
  // How far a dataset has grown is told afterwards.
  const keep = order.keep || onChange === 'prefix';
  context.dispatcher.requireRoom(mac);
  const record = context.requests.open({ id, kind, mac, dataset, onChange, minAgeS, keep, tokenId: grant.tokenId });
  confirmMinAge(call, minAgeS);
  if (outlives) {
    const letGo = slot?.hold();
    if (letGo !== undefined) record.onceEnded(letGo);
  } else {
    response.once('close', () => {
      if (!response.writableFinished) record.cancel('the app went away');
    });
  }
  return record;
}
