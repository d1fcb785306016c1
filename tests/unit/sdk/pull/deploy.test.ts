import { expect, it } from 'vitest';
import { type DeployContext, deploy, recoverDeployments } from '../../../../src/sdk/pull/deploy.js';

it('an unsupported target type is refused by name', async () => {
  const context = {} as DeployContext;
  const deployment = { targetType: 'F5', targetConfig: {}, certificatePem: '', keyPem: '' };
  expect((await deploy(context, deployment))._unsafeUnwrapErr().message).toContain(
    'unsupported target type: F5',
  );
  expect((await recoverDeployments(context))._unsafeUnwrap()).toEqual([]);
});
