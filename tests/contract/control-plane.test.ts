import { ResultAsync } from 'neverthrow';
import { nodeFileSystem } from '../../src/adapters/files/file-system.js';
import { undiciControlPlane } from '../../src/adapters/undici/control-plane.js';
import { readAnswer } from '../../src/adapters/undici/control-plane-answers.js';
import { trustedCertificates } from '../../src/adapters/undici/trusted-certificates.js';
import { failure } from '../../src/domain/core/errors.js';
import { controlPlaneUrl } from '../../src/domain/deploy/server-url.js';
import { fakeControlPlane } from '../support/deployment/control-plane.js';
import { memoryControlPlane } from '../support/memory/control-plane.js';
import { connectProxy } from '../support/network/connect-proxy.js';
import { controlPlaneContract } from './control-plane.contract.js';
import { value } from './result.js';

controlPlaneContract('memory', async (script) => {
  const plane = memoryControlPlane((request, signal) => {
    const answer = script(request);
    return answer === 'silence'
      ? ResultAsync.fromPromise(
          new Promise<never>((_resolve, reject) => {
            signal.addEventListener('abort', reject);
          }),
          () => failure('aborted', 'the call was aborted', {}),
        )
      : new ResultAsync(Promise.resolve(readAnswer(request, answer)));
  });
  return { plane, arrived: plane.calls, dispose: plane.close };
});

for (const through of ['undici', 'undici through a proxy'])
  controlPlaneContract(through, async (script) => {
    const server = await fakeControlPlane();
    const proxy = through === 'undici' ? undefined : await connectProxy();
    server.misbehave = ({ method, path, body }, response) => {
      const answer = script({ method: method as 'GET', path, ...(body && { body }) });
      if (answer !== 'silence')
        response.writeHead(answer.status, { location: '/elsewhere' }).end(answer.body);
      return true;
    };
    const plane = undiciControlPlane({
      server: value(controlPlaneUrl(server.url)),
      apiKey: server.apiKey,
      insecureSkipVerify: false,
      trusted: value(await trustedCertificates(nodeFileSystem().read, server.caBundle)),
      userAgent: 'test',
      proxy,
    });
    return {
      plane,
      get arrived() {
        return server.calls.map(({ method, path, body }) => ({
          method: method as 'GET',
          path,
          ...(body && { body }),
        }));
      },
      dispose: async () => {
        await plane.close();
        await proxy?.close();
      },
    };
  });
