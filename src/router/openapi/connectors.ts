import { ASKING } from './errors.ts';
import type { Operations } from './operation.ts';

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
    query: ['limit', 'cursor'],
    answers: { 200: { description: 'A page.', content: { 'application/json': 'DatasetList' }, headers: ['Link'] } },
    errors: ['connector_not_found', ...ASKING],
  },
};
