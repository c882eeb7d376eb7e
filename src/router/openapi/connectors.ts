import { ASKING } from './errors.ts';
import type { Answer, Operations } from './operation.ts';

const DIRECTORY: Answer = {
  description:
    'The whole directory, or a page of JSON where `Accept` names that and no HTML; `limit` and `cursor` are for JSON.',
  content: { 'text/html': { type: 'string' }, 'application/json': 'DatasetList' },
  headers: ['Link', 'Cache-Control', 'Relay-Min-Age'],
};

/** The endpoints that show connectors and what they offer. */
export const connectorOperations: Operations = {
  'GET /connectors': {
    id: 'listConnectors',
    summary: 'The connectors that the router has seen',
    query: ['limit', 'cursor', 'label', 'state'],
    answers: { 200: { description: 'A page.', content: { 'application/json': 'ConnectorList' }, headers: ['Link'] } },
  },
  'GET /connectors/{mac}': {
    id: 'getConnector',
    summary: 'One connector',
    answers: { 200: { description: 'The connector.', content: { 'application/json': 'ConnectorInfo' } } },
    errors: ['connector_not_found'],
  },
  'GET /connectors/{mac}/datasets': {
    id: 'listDatasets',
    summary: 'What a connector offers',
    query: ['limit', 'cursor', 'prefix', 'glob', 'delimiter', 'min_age'],
    answers: {
      200: {
        description: 'A page.',
        content: { 'application/json': 'DatasetList' },
        headers: ['Link', 'Relay-Min-Age'],
      },
      308: {
        description: 'To who prefers HTML, and asks nothing: to the page.',
        headers: ['Location', 'Cache-Control'],
      },
    },
    errors: ['connector_not_found', ...ASKING],
  },
  'GET /connectors/{mac}/datasets/': {
    id: 'showDatasets',
    summary: 'The uppermost directory of a connector as a page',
    query: ['limit', 'cursor', 'glob', 'min_age'],
    answers: { 200: DIRECTORY },
    errors: ['connector_not_found', ...ASKING],
  },
  'GET /connectors/{mac}/datasets/{path...}/': {
    id: 'showDirectory',
    summary: 'A directory as a page; `path` is its name',
    query: ['limit', 'cursor', 'glob', 'min_age'],
    answers: { 200: DIRECTORY },
    errors: ['connector_not_found', ...ASKING],
  },
};
