import { describe, expect, it } from 'vitest';
import { servingAgent, trustedSerial } from '../../../../support/fleet/memory-agents.js';

/** Bytes (wire-protocol 1.1, 2.4). */
const [maxRequestBody, maxListBody] = [1024 * 1024, 8 * 1024 * 1024];

describe('a body', () => {
  const padded = (size: number) => JSON.stringify({ padding: 'x'.repeat(size - 14) });

  it.each([
    ['/v2/crl', maxListBody],
    ['/rotate-serial', maxListBody],
    ['/v2/cas', maxRequestBody],
    ['/run', maxRequestBody],
    ['/renew-complete', maxRequestBody],
    ['/ping', maxRequestBody],
    ['/no-such-path', maxRequestBody],
  ])('of a trusted dispatcher for %s may have %i bytes', async (path, limit) => {
    const { ask } = await servingAgent();
    expect((await ask({ path, body: padded(limit) })).status).not.toBe(413);
    expect(await ask({ path, body: padded(limit + 1) })).toMatchObject({
      status: 413,
      json: { error: `request body larger than ${limit} bytes` },
    });
  });

  it('of a stranger for /rotate-serial may have 1 MiB', async () => {
    const { ask } = await servingAgent();
    const asked = { path: '/rotate-serial', serial: 'abd' };
    expect((await ask({ ...asked, body: padded(maxRequestBody) })).status).toBe(403);
    expect((await ask({ ...asked, body: padded(maxRequestBody + 1) })).status).toBe(413);
  });

  it('of somebody who is refused is not read at all', async () => {
    const { ask } = await servingAgent({ revoked: trustedSerial });
    expect(await ask({ path: '/v2/crl', body: padded(maxListBody) })).toMatchObject({
      status: 403,
      bodyReads: 0,
    });
  });
});
