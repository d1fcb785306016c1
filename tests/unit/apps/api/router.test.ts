import { expect, it, vi } from 'vitest';
import { memoryApi } from '../../../support/api/memory-api.js';

it.each([
  [{ middlewares: [] }, 'createApiRouter: middlewares: there is no such member; did you mean middleware?'],
  [{ heartbeat: 'often' }, 'createApiRouter: heartbeat: expected a number'],
])('a router with wrong options, %j, warns the process and answers 500', async (options, warning) => {
  const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
  const { get } = await memoryApi('', options as never);
  expect((await get('/v1/locks')).status).toBe(500);
  expect(warned).toHaveBeenCalledWith(expect.objectContaining({ message: warning }));
  warned.mockRestore();
});
