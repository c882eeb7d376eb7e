import type { Operations } from './operation.ts';

const health = (what: string) => ({ 200: { description: what, content: { 'application/json': 'Health' } } }) as const;

/** The endpoints for those who run the router or write programs for it. */
export const operationOperations: Operations = {
  'GET /healthz': { id: 'getHealth', summary: 'Whether the router runs', answers: health('It does.') },
  'GET /readyz': {
    id: 'getReadiness',
    summary: 'Whether the router takes requests',
    answers: health('It does.'),
    errors: ['draining'],
  },
  'GET /metrics': {
    id: 'getMetrics',
    summary: 'Metrics in the Prometheus text format',
    answers: { 200: { description: 'The metrics.', content: { 'text/plain': { type: 'string' } } } },
  },
  'GET /openapi.json': {
    id: 'getOpenApi',
    summary: 'This description',
    answers: { 200: { description: 'OpenAPI 3.1.', content: { 'application/json': { type: 'object' } } } },
  },
};
