export { type ApiRouterOptions, createApiRouter } from '../api/router.js';
