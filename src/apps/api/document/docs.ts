import { join } from 'node:path';
import type { Request, RequestHandler, Response } from 'express';
import { packageFile } from '../../package-file.js';
import type { Refusal } from '../answers/refusals.js';
import { crossOrigin } from '../serve/admission.js';

const places = ['../docs-page/', '../../docs-page/', '../../../../node_modules/swagger-ui-dist/'];

/** Where the parts of Swagger UI are that the page loads. */
const assetDirectory = (): string => join(packageFile(places, 'dist/docs-page') ?? 'docs-page', '/');

const page = (base: string): string => `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>ctrl-exec API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="${base}/docs/swagger-ui.css">
<div id="page" data-spec="${base}/openapi-live.json"></div>
<script src="${base}/docs/swagger-ui-bundle.js"></script>
<script src="${base}/docs/start.js"></script>
</html>
`;

const start = `const page = document.getElementById('page');
SwaggerUIBundle({ domNode: page, url: page.dataset.spec, deepLinking: true, tryItOutEnabled: true, validatorUrl: null });
`;

/** Everything comes from here; Swagger UI sets styles in elements, and has its pictures in its style sheet. */
const policy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

const attribute = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('"', '&quot;').replaceAll('<', '&lt;');

const send = (response: Response, type: string, text: string): void => {
  response.setHeader('content-security-policy', policy);
  response.setHeader('x-content-type-options', 'nosniff');
  response.setHeader('referrer-policy', 'no-referrer');
  response.type(type).send(text);
};

const asset =
  (name: string): RequestHandler =>
  (_request, response, next) => {
    response.setHeader('x-content-type-options', 'nosniff');
    response.sendFile(name, { root: assetDirectory(), maxAge: '1h', cacheControl: true }, (error) => {
      if (error && !response.headersSent) next(error);
    });
  };

/** The names of what the page loads, below `/docs/`. */
export const docsParts = ['start.js', 'swagger-ui.css', 'swagger-ui-bundle.js'] as const;

const isPage = ({ method, path }: Request): boolean =>
  (method === 'GET' || method === 'HEAD') && (path === '/docs' || path.startsWith('/docs/'));

/** The page on which the API can be read about and tried. */
export function docsHandlers() {
  const pages: readonly { readonly path: string; readonly handler: RequestHandler }[] = [
    {
      path: '/docs',
      handler: (request, response) => send(response, 'html', page(attribute(request.baseUrl))),
    },
    ...docsParts.map((part) => ({
      path: `/docs/${part}`,
      handler:
        part === 'start.js'
          ? (_request: Request, response: Response) => send(response, 'js', start)
          : asset(part),
    })),
  ];
  return {
    pages,
    /** A browser asks its user for credentials when it is told which; nobody else is told. */
    challenged(request: Request, response: Response, refusal: Refusal): Refusal {
      if (!isPage(request) || refusal.status !== 403 || refusal === crossOrigin) return refusal;
      response.setHeader('www-authenticate', 'Basic realm="ctrl-exec", charset="UTF-8"');
      return { ...refusal, status: 401 };
    },
  };
}
