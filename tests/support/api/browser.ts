import { existsSync } from 'node:fs';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import { atEnd } from '../commands/commands.js';

/** Where distributions put Chromium; undefined: it is not installed. */
export const chromiumPath = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(
  (path) => existsSync(path),
);

/** A browser without a screen. @param names are resolved to this host, as their owner could have it */
export async function browser(names: readonly string[] = []): Promise<Browser> {
  if (chromiumPath === undefined) throw new Error('there is no Chromium: apt-get install chromium');
  const rules = names.map((name) => `MAP ${name} 127.0.0.1`).join(', ');
  const opened = await chromium.launch({
    executablePath: chromiumPath,
    // Its sandbox is not to be had in containers; what it opens is ours.
    args: ['--no-sandbox', `--host-resolver-rules=${rules}`],
  });
  atEnd(() => opened.close());
  return opened;
}

export interface WatchedPage {
  readonly page: Page;
  /** What its console says is wrong, and what it has thrown. */
  readonly complaints: string[];
  /** Every address that it has asked for. */
  readonly asked: string[];
}

/** A page in a profile of its own. */
export async function watchedPage(
  opened: Browser,
  options: BrowserContextOptions = {},
): Promise<WatchedPage> {
  const context = await opened.newContext(options);
  atEnd(() => context.close());
  const page = await context.newPage();
  const complaints: string[] = [];
  const asked: string[] = [];
  page.on('console', (said) => {
    if (['error', 'warning'].includes(said.type())) complaints.push(said.text());
  });
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('request', (request) => asked.push(request.url()));
  return { page, complaints, asked };
}
