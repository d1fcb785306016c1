import { execute, program, wholeNumber } from '../command-line.js';
import { placeOf } from '../place.js';
import { version } from '../version.js';

interface Options {
  readonly home?: string;
  readonly config?: string;
  readonly port?: number;
  readonly bind?: string;
}

const cli = program(
  'ctrl-exec-api',
  'The HTTP API of ctrl-exec. SIGHUP reads the configuration again.',
  version,
)
  .option('--home <dir>', 'keep everything under this directory (also CTRL_EXEC_HOME)')
  .option('--config <path>', 'configuration file')
  .option(
    '--port <port>',
    'port to listen on, 0 lets the system choose (default: api_port)',
    wholeNumber(0, 65_535),
  )
  .option('--bind <address>', 'address to listen on (default: api_bind)')
  .usage('[--home <dir>] [--config <path>] [--port <port>] [--bind <address>]')
  .addHelpText('after', '\nExample:\n  ctrl-exec-api --home /srv/fleet --port 7445')
  .action(async ({ home = process.env['CTRL_EXEC_HOME'], config, port, bind }: Options) => {
    const [{ composeApi }, { apiMetrics }, { withRequestIds }, { serve }] = await Promise.all([
      import('../composition.js'),
      import('./metrics/metrics.js'),
      import('./serve/requests.js'),
      import('./serve/serve.js'),
    ]);
    const metrics = apiMetrics();
    const parts = await composeApi(placeOf(home, config), (log) => withRequestIds(metrics.events(log)));
    const asked = { ...(port !== undefined && { port }), ...(bind !== undefined && { bind }) };
    try {
      process.exitCode = await serve({ ...parts, metrics }, asked);
    } finally {
      await parts.close();
    }
  });

await execute(cli, process.argv.slice(2));
