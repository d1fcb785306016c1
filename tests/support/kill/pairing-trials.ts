import { join } from 'node:path';
import {
  type CommandOptions,
  type Ended,
  type OpenPairing,
  openPairing,
  type Started,
  start,
} from '../commands/commands.js';
import {
  agent,
  answers,
  approveWhenAsked,
  control,
  copy,
  noLocks,
  pairs,
  requestAsWeb,
  rowsOf,
  succeeds,
  type Templates,
} from './fleet.js';
import { type AgentLook, isInterrupted, leftovers, lookAtAgent, lookAtDispatcher } from './looks.js';
import type { Outcome, Round, Trial } from './rounds.js';

/** Where one pairing takes place. */
interface Scene {
  readonly dispatcher: string;
  readonly agent: string;
  /** The dispatcher that the agent was paired with before, if it was: that of `before`. */
  readonly former?: string;
  readonly before?: AgentLook | undefined;
}

const nothingLeft = (...homes: string[]): void => {
  const left = homes.flatMap(leftovers);
  if (left.length > 0) throw new Error(`left behind: ${left.join(', ')}`);
};

/** What the agent's files are, after a command has looked at them. */
async function settled(home: string): Promise<AgentLook | undefined> {
  const interrupted = isInterrupted(home);
  if (!interrupted) lookAtAgent(home);
  const check = await agent(home, 'self-check');
  // Whoever completes a change also clears away what the killed process had prepared for it.
  if (interrupted) nothingLeft(home);
  if (isInterrupted(home)) throw new Error('self-check does not complete the interrupted change');
  const look = lookAtAgent(home);
  if ((check.code === 0) !== (look !== undefined))
    throw new Error(`self-check ends with ${check.code}: ${check.stdout}${check.stderr}`);
  return look;
}

/** Old: as before, and still accepted where it was. New: of this pairing, and accepted by this dispatcher. */
async function judgePairing({ dispatcher, agent: home, former, before }: Scene): Promise<Outcome> {
  const look = await settled(home);
  const row = (await rowsOf(dispatcher)).find(({ name }) => name === 'web-01');
  if (look === undefined) {
    if (before) throw new Error('the old identity is gone');
    if (row?.keys.some(({ state }) => state === 'active'))
      throw new Error('active in the registry, and the agent is not paired');
    return 'old';
  }
  if (before && look.identity.serial === before.identity.serial) {
    if (former !== undefined) await answers(former, home);
    return 'old';
  }
  const { ca, own } = lookAtDispatcher(dispatcher);
  if (look.ca !== ca?.certificate.fingerprint256 || !look.trusted.includes(own?.[0].serial ?? 'none'))
    throw new Error('a mixture: the identity is new, CA or trust are not');
  if (row?.keys.every(({ spki_sha256 }) => spki_sha256 !== look.identity.spki) ?? true)
    throw new Error(`the agent has a key that the registry does not know: ${JSON.stringify(row)}`);
  await answers(dispatcher, home);
  return 'new';
}

/** Pairs once more, with what the product asks for where something is there already. */
async function pairAgain(scene: Scene, mode: OpenPairing, ...request: string[]): Promise<void> {
  const known = (await rowsOf(scene.dispatcher)).some(({ name }) => name === 'web-01');
  await pairs(scene.dispatcher, scene.agent, mode.port, { request, approve: known ? ['--replace'] : [] });
  if ((await judgePairing({ dispatcher: scene.dispatcher, agent: scene.agent })) !== 'new')
    throw new Error('pairing again does nothing');
  await succeeds(mode.process.stop());
  await noLocks(scene.dispatcher);
  nothingLeft(scene.dispatcher, scene.agent);
}

/** A round in which the agent's side is killed. */
async function killedAgent(
  scene: Scene,
  options: {
    /** Options by which the killed command recognises the dispatcher. */
    readonly request?: (() => Promise<readonly string[]>) | undefined;
    readonly approve?: readonly string[];
    /** Needed also when it pairs again. */
    readonly replace?: readonly string[];
  },
): Promise<Round> {
  const mode = await openPairing(scene.dispatcher);
  const { replace = [], approve = [] } = options;
  const request = (await options.request?.()) ?? [];
  return {
    writes: [scene.agent, join(scene.agent, 'state')],
    begin: (options) => {
      const command = requestAsWeb(scene.agent, mode.port, [...request, ...replace], options);
      // A token approves by itself.
      const beside = request.includes('--join')
        ? Promise.resolve([])
        : approveWhenAsked(scene.dispatcher, command, ...approve).then(present);
      return { command, beside };
    },
    judge: (ended) => saysOneLine(ended).then(() => judgePairing(scene)),
    again: () => pairAgain(scene, mode, ...replace),
  };
}

const present = (ended: Ended | undefined): readonly Ended[] => (ended ? [ended] : []);

/** However it ended: it said no more than one line about what went wrong. */
async function saysOneLine({ code, stderr }: Ended): Promise<void> {
  const lines = stderr.split('\n').filter((line) => line.replace(/^.*\[y\/N\] /, '') !== '');
  if (code !== null && lines.length > 1)
    throw new Error(`exit ${code} with more than one line: ${lines.join('\n')}`);
}

export function pairingTrials(templates: () => Templates): readonly Trial[] {
  const fresh = (place: string): Scene => ({
    dispatcher: copy(templates().dispatcher, place, 'dispatcher'),
    agent: copy(templates().unpaired, place, 'agent'),
  });
  const secondTime = (place: string, dispatcherTemplate: string): Scene => {
    const former = copy(templates().paired, place, 'former');
    const home = copy(templates().agent, place, 'agent');
    const dispatcher =
      dispatcherTemplate === templates().paired ? former : copy(dispatcherTemplate, place, 'dispatcher');
    return { dispatcher, agent: home, former, before: lookAtAgent(home) };
  };
  const fingerprint = (home: string) => lookAtDispatcher(home).ca?.certificate.fingerprint256 ?? '';
  const token = async (home: string) =>
    (await succeeds(control(home, 'join-token', '--host', 'web-01'))).stdout.trim();

  return [
    {
      name: 'request-pairing, codes compared',
      weight: 16,
      prepare: async (place) => killedAgent(fresh(place), {}),
    },
    {
      name: 'request-pairing --ca-sha256',
      weight: 14,
      prepare: async (place) => {
        const scene = fresh(place);
        return killedAgent(scene, {
          request: async () => ['--ca-sha256', fingerprint(scene.dispatcher)],
        });
      },
    },
    {
      name: 'request-pairing --join',
      weight: 14,
      prepare: async (place) => {
        const scene = fresh(place);
        return killedAgent(scene, { request: async () => ['--join', await token(scene.dispatcher)] });
      },
    },
    {
      name: 'request-pairing --new-key, once more',
      weight: 14,
      prepare: async (place) =>
        killedAgent(secondTime(place, templates().paired), {
          replace: ['--new-key'],
          approve: ['--replace'],
        }),
    },
    {
      name: 'request-pairing --replace, another CA',
      weight: 16,
      prepare: async (place) =>
        killedAgent(secondTime(place, templates().stranger), { replace: ['--replace'] }),
    },
    {
      name: 'installation of a pairing',
      weight: 18,
      mark: /identity\.journal\.lock/,
      late: true,
      prepare: async (place, number) =>
        number % 2 === 0
          ? killedAgent(fresh(place), {})
          : killedAgent(secondTime(place, templates().stranger), { replace: ['--replace'] }),
    },
    {
      name: 'pairing-mode',
      weight: 16,
      prepare: async (place) => {
        const scene = fresh(place);
        return {
          writes: [join(scene.dispatcher, 'state'), scene.dispatcher],
          begin: (options: CommandOptions = {}) => {
            const args = ['pairing-mode', '--port', '0'];
            const command = start('ctrl-exec', args, { home: scene.dispatcher, ...options });
            return { command, beside: meanwhilePair(scene, command) };
          },
          judge: () => judgePairing(scene),
          again: async () => pairAgain(scene, await openPairing(scene.dispatcher)),
        };
      },
    },
    {
      name: 'approve',
      weight: 12,
      prepare: async (place) => killedApproval(fresh(place)),
    },
  ];
}

/** An agent pairs while pairing mode is open, which then ends. */
async function meanwhilePair(scene: Scene, mode: Started): Promise<readonly Ended[]> {
  const port = await mode.shows(/Pairing mode on .*:(\d+)/).catch(() => undefined);
  if (port === undefined) return [];
  const request = requestAsWeb(scene.agent, Number(port));
  const approved = await approveWhenAsked(scene.dispatcher, request);
  request.child.stdin?.end();
  const ended = await request.ended;
  mode.child.kill('SIGTERM');
  await saysOneLine(ended);
  if (ended.code !== 0 && ended.code !== 1)
    throw new Error(`request-pairing ends with ${ended.code}: ${ended.stderr}`);
  return [...present(approved), ended];
}

/** The operator's command is killed; the agent waits for its answer. */
async function killedApproval(scene: Scene): Promise<Round> {
  const mode = await openPairing(scene.dispatcher);
  const request = requestAsWeb(scene.agent, mode.port);
  const id = await request.shows(/Request ([0-9a-f]{8})/);
  const stateOf = async () => {
    const { stdout } = await succeeds(control(scene.dispatcher, 'list-requests', '--json'));
    const { requests } = JSON.parse(stdout) as { requests: { id: string; state: string }[] };
    return requests.find((each) => each.id.startsWith(id))?.state;
  };
  return {
    writes: [join(scene.dispatcher, 'state')],
    begin: (options) => ({
      command: start('ctrl-exec', ['approve', id], { home: scene.dispatcher, ...options }),
    }),
    judge: async () => {
      const state = await stateOf();
      if (state !== 'open' && state !== 'approved') throw new Error(`the request is ${state}`);
      return state === 'open' ? 'old' : 'new';
    },
    again: async (outcome) => {
      if (outcome === 'old') await succeeds(control(scene.dispatcher, 'approve', id));
      request.child.stdin?.end('y\n');
      await succeeds(request.ended);
      if ((await judgePairing(scene)) !== 'new') throw new Error('it is not paired');
      await succeeds(mode.process.stop());
      await noLocks(scene.dispatcher);
      nothingLeft(scene.dispatcher, scene.agent);
    },
  };
}
