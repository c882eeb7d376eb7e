import { RelayError } from '../../protocol/errors.ts';
import { sendJson } from '../reply.ts';
import type { Route } from './route.ts';

/** The endpoints for those who run the router. */
export const operationRoutes: Route[] = [
  {
    method: 'GET',
    path: '/healthz',
    scope: 'public',
    handle(_context, { response }) {
      sendJson(response, 200, { status: 'ok' });
    },
  },
  {
    method: 'GET',
    path: '/readyz',
    scope: 'public',
    handle(context, { response }) {
      if (!context.state.ready) throw new RelayError('draining', 'this router is going down');
      sendJson(response, 200, { status: 'ready' });
    },
  },
  {
    method: 'GET',
    path: '/metrics',
    scope: 'metrics',
    async handle(context, { response }) {
      const { text, contentType } = await context.metrics.render();
      response.writeHead(200, { 'Content-Type': contentType, 'Content-Length': Buffer.byteLength(text) });
      response.end(text);
    },
  },
];
