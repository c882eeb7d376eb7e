import { signRequest, type SignedUrl } from '../../protocol/app.ts';
import { encodeDatasetPath } from '../../protocol/dataset-name.ts';
import { MAX_CONTROL_BODY_BYTES } from '../../protocol/limits.ts';
import { sendJson } from '../reply.ts';
import { readJson } from './read-json.ts';
import type { Route } from './route.ts';

/** The endpoint that signs URLs of datasets, for who cannot send a token. */
export const signRoutes: Route[] = [
  {
    method: 'POST',
    path: '/datasets/sign',
    scope: 'app',
    async handle(context, { request, response, grant }) {
      const body = await readJson(context, request, signRequest, MAX_CONTROL_BODY_BYTES);
      const { mac, dataset, expires_in: seconds = Math.floor(context.options.urlTtlMs / 1000) } = body;
      grant.requireDataset(mac, dataset);
      const url = `${context.baseUrl.of(request)}/connectors/${mac}/datasets/${encodeDatasetPath(dataset)}`;
      const { signer } = context.access;
      // Where nobody is asked for a token the URL is good as it is, and has no end that the router could hold it to.
      if (signer === undefined) {
        sendJson(response, 200, { url, expires_at: null } satisfies SignedUrl);
        return;
      }
      const wanted = Math.floor(Date.now() / 1000) + seconds;
      const expires = Math.min(wanted, Math.floor((grant.expiresAt ?? Infinity) / 1000));
      const answer: SignedUrl = {
        url: `${url}?${signer.sign({ mac, dataset }, expires, grant.keyId ?? '')}`,
        expires_at: new Date(expires * 1000).toISOString(),
      };
      sendJson(response, 200, answer);
    },
  },
];
