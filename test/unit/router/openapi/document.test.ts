import { describe, expect, test } from '@jest/globals';
import { describeApi } from '../../../../src/router/openapi/document.ts';
import { operationRoutes } from '../../../../src/router/routes/operations.ts';
import type { Route } from '../../../../src/router/routes/route.ts';

interface Described {
  readonly paths: Record<string, Record<string, { security: unknown; responses: Record<string, object> }>>;
}
const describeRoutes = (routes: readonly Route[], asksForTokens = true): Described =>
  describeApi(routes, { version: '1.2.3', asksForTokens }) as unknown as Described;

describe('the description of the interface', () => {
  test('is refused where a route has none', () => {
    const route: Route = { method: 'GET', path: '/new', scope: 'app', handle: () => {} };
    expect(() => describeRoutes([route])).toThrow(/nothing describes GET \/new/);
  });

  test('says which roles an endpoint is for, and that nobody needs a token where none is asked for', () => {
    const { paths } = describeRoutes(operationRoutes);
    expect(paths['/healthz']?.['get']?.security).toEqual([]);
    expect(paths['/metrics']?.['get']?.security).toEqual([{ bearer: ['monitor'] }, { basic: ['monitor'] }]);
    expect(describeRoutes(operationRoutes, false).paths['/metrics']?.['get']?.security).toContainEqual({});
  });

  test('gives each status the codes that it may carry', () => {
    const { paths } = describeRoutes(operationRoutes);
    expect(paths['/readyz']?.['get']?.responses['503']).toMatchObject({
      content: {
        'application/problem+json': {
          schema: { allOf: [{}, { properties: { code: { enum: ['overloaded', 'draining'] } } }] },
        },
      },
    });
    expect(paths['/healthz']?.['get']?.responses).not.toHaveProperty('401');
  });
});
