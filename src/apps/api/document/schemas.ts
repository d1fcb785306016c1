import { z } from 'zod';
import { agentName } from '../../../domain/core/names.js';
import { hostStates } from '../../../domain/runs/host-result.js';
import { hostStatuses } from '../../../domain/runs/host-words.js';

/** What several routes have in common. `id` makes a schema a component of the document. */

/** A host in a request; the live document lists the registered ones. */
const hostArgument = z.string().min(1).max(255).meta({
  id: 'HostArgument',
  description:
    'A registered agent by its name. Also `host:port`, `[IPv6]:port`, or an unregistered host name.',
});

/** The name of an agent as it is stored: the hook is told no other spelling. */
export const agentNameText = z
  .string()
  .refine(
    (text) => agentName(text).isOk(),
    'expected at most 64 letters, digits, ".", "_" or "-", with a letter or digit at either end',
  )
  .toLowerCase();

/** A script in a request; the live document lists those that agents offer. */
export const scriptArgument = z.string().min(1).max(255).meta({
  id: 'ScriptArgument',
  description:
    'Name of the script in the allowlists of the agents: letters, digits, `_` and `-`. An agent that has none of that name says `script not permitted`.',
});

export const hostList = z.array(hostArgument).min(1).max(10_000);

/** What every body may hold, for clients that send no `Authorization` header. */
export const credentials = {
  username: z
    .string()
    .optional()
    .meta({ description: 'Who asks, as told to the auth hook. Goes before the `Authorization` header.' }),
  token: z.string().optional().meta({ description: 'Told to the auth hooks; never logged.' }),
};

export const seconds = (description: string) =>
  z.int().meta({ description: `${description} Seconds since 1970.`, example: 1_780_000_000 });

const reqidText = z
  .string()
  .meta({ description: 'Id of the run, 16 hex digits.', example: 'eab1731a91c588ee' });
export const reqid = reqidText;

export const rtt = z
  .string()
  .regex(/^\d+ms$/)
  .meta({ description: 'Round trip, such as `12ms`.', example: '12ms' });

export const reqidParams = z.object({
  reqid: z.string().meta({ description: 'Id of the run, 16 hex digits.', example: 'eab1731a91c588ee' }),
});

export const ok = z.literal(true);

export const tagMap = z
  .record(z.string(), z.string())
  .meta({ description: 'Tags of the agent, `name: value`.', example: { env: 'prod' } });

const truncated = z
  .object({ stdout: z.int().optional(), stderr: z.int().optional() })
  .meta({ description: 'Bytes in all, for each stream of which only head and tail were kept.' });

const fetchError = z.string().meta({ description: 'Why the agent could not be asked just now.' });
const reportedHostname = z.string().meta({ description: 'How the agent names itself, where that differs.' });
const exit = z.int().min(-1).max(255);

export const hostStateWord = z.enum(hostStates).meta({
  description:
    'How the run stands on this host. `running` and `unknown`: the script may go on. `refused`, `denied`, `unreachable`, `skipped`: it has not begun.',
});

/** What every form of a host has beside its legacy words. */
const beside = {
  state: hostStateWord,
  stdout_base64: z.string().optional().meta({ description: 'The exact bytes, where they are not UTF-8.' }),
  stderr_base64: z.string().optional().meta({ description: 'The exact bytes, where they are not UTF-8.' }),
  left_behind: z
    .object({ count: z.int().optional(), pids: z.array(z.int()) })
    .optional()
    .meta({ description: 'Processes of the script that live on; without `count` they cannot be seen.' }),
  failure: z
    .looseObject({ code: z.string(), may_have_run: z.boolean() })
    .optional()
    .meta({ description: 'Why the state is not `succeeded`: a code and its fields.' }),
};

export const revocationsPendingSince = z.int().meta({
  description:
    'The agent has not acknowledged a revocation that was made then, and may accept what was revoked. Seconds since 1970.',
});

/** What a script on one host has come to, or why there is nothing. */
export const hostResult = z
  .object({
    host: z.string().meta({ description: 'The registered name, or the host as it was given.' }),
    script: z.string().optional(),
    exit: exit.meta({
      description: 'Exit status of the script. -1: there is none; 126: killed, or it could not be executed.',
    }),
    stdout: z.string().optional(),
    stderr: z.string().optional(),
    error: z.string().optional().meta({ description: 'Why `exit` is -1 or 126.' }),
    ...beside,
    truncated: truncated.optional(),
    reported_hostname: reportedHostname.optional(),
    fetch_error: fetchError.optional(),
    revocations_pending_since: revocationsPendingSince.optional(),
    rtt,
    reqid,
  })
  .meta({
    id: 'HostResult',
    description: 'One host of a run. `stdout` and `stderr` are missing where there is no result.',
  });

/** How one host stands in an async run. */
export const hostState = z
  .object({
    status: z.enum(hostStatuses),
    exit: exit.optional(),
    stdout: z.string().optional(),
    stderr: z.string().optional(),
    error: z.string().optional(),
    ...beside,
    truncated: truncated.optional(),
    fetch_error: fetchError.optional(),
  })
  .meta({
    id: 'HostState',
    description:
      'One host of an async run. `expired`: its agent does not know it any more. `lost`: the machine went down while it ran. `busy`, `error`: it was not begun there.',
  });

export const submission = z
  .object({
    host: z.string(),
    state: hostStateWord,
    status: z.enum(['accepted', 'busy', 'error']),
    error: z.string().optional(),
    revocations_pending_since: revocationsPendingSince.optional(),
    reqid,
    rtt,
  })
  .meta({ id: 'Submission', description: 'How one host took an async run.' });

/** Epoch milliseconds as the whole seconds of the API. */
export const epochSeconds = (milliseconds: number): number => Math.floor(milliseconds / 1000);
export const secondsOrNull = (milliseconds: number | undefined): number | null =>
  milliseconds === undefined ? null : epochSeconds(milliseconds);
