import { describeApi } from '../openapi/document.ts';
import { sendJson } from '../reply.ts';
import type { Route } from './route.ts';

/** The routes with one more, at which they are all described, itself included (OpenAPI 3.1). */
export function withDescription(routes: readonly Route[]): Route[] {
  let description: object | undefined;
  const all: Route[] = [
    ...routes,
    {
      method: 'GET',
      path: '/openapi.json',
      scope: 'any',
      handle({ baseUrl, options }, { request, response }) {
        description ??= describeApi(all, { version: options.version, asksForTokens: options.secrets !== undefined });
        sendJson(response, 200, { ...description, servers: [{ url: baseUrl.of(request) }] });
      },
    },
  ];
  return all;
}
