import { describe, it } from 'vitest';
import { startNginx } from '../../support/deployment/nginx.js';
import { isInstalled } from '../../support/deployment/server.js';
import { deploymentSuite } from '../../support/deployment/suite.js';

if (await isInstalled('nginx')) deploymentSuite('NGINX', startNginx);
else describe('deployments to NGINX', () => it.skip('nginx is not installed', () => undefined));
