/**
 * Everything that is worth a line in the log, by its name. The comment of each event says what happened; its `@remarks`
 * say what to do about it, and `docs/events.md` is made from both. Fields are what the event is about; never a token, a
 * key, an argument or what a script printed. Times are milliseconds, serials canonical hex.
 */
export interface DispatcherEvents {
  /** The private CA was created. @remarks Keep the fingerprint: `request-pairing --ca-sha256` takes it. */
  'ca-created': { serial: string; fingerprint: string };
  /** This dispatcher has got an identity. @remarks If nobody ran `setup-ctrl-exec`, somebody else has root here. */
  'identity-created': { dispatcher: string; serial: string };
  /** The pairing port is open. @remarks Close it when the agents are paired; it is the one port that listens to strangers. */
  'pairing-mode': { bind: string; port: number };
  /** Pairing mode ended by itself. @remarks Find out who tries to pair: three codes that differ are no accident. */
  'pairing-mode-ended': { reason: string };
  /** An agent began to pair. @remarks Compare the codes, then approve or deny. */
  'pairing-requested': { request: string; host: string; ip: string };
  /** The pairing port refused a message. @remarks One is noise, many from one address are an attempt. */
  'pairing-refused': { ip: string; step?: string | undefined; reason: string };
  /** An operator approved a request. @remarks Nothing; the agent fetches its certificate once its side has confirmed. */
  'pairing-approved': { request: string; host: string; ip: string };
  /** An operator denied a request, or read another code. @remarks If the codes differ, look for who is between the hosts. */
  'pairing-denied': { request: string; host: string; ip: string; reason: string };
  /** A certificate was issued to an agent. @remarks Expect `agent-paired`; without it the certificate lapses after a day. */
  'pairing-issued': { request: string; host: string; serial: string; ip: string };
  /** An agent has installed its certificate and may be called. @remarks Nothing. */
  'agent-paired': { request: string; host: string; ip: string };
  /** A join token was issued. @remarks Nothing; the field `token` is its public id, not the secret. */
  'join-token-issued': { host: string; token: string; ttl: number };
  /** A join token was presented for another key than the one it is bound to. @remarks The token has leaked: find out how. */
  'join-token-misused': { host: string; token: string; ip: string };
  /** An operator changed where an agent is reached, or its name. @remarks Nothing. */
  'agent-edited': {
    host: string;
    from: string | undefined;
    hostname: string;
    ip: string;
    port: number;
    lookup: string;
  };
  /** An agent was removed from the registry. @remarks Remove the trust on the agent's side too, if it lives on. */
  unpaired: { host: string };
  /** The auth hook, or its absence, refused a request. @remarks See the hook's own log; `reason` is its exit code in words. */
  denied: {
    request: string;
    script: string | undefined;
    hosts: string | undefined;
    username: string | undefined;
    ip: string;
    reason: string;
  };
  /** A script was sent to hosts. @remarks Nothing; the same REQID is in the log of each agent. */
  run: { reqid: string; script: string; hosts: string; username: string | undefined };
  /** A host's result of a run, or why there is none. @remarks With `exit` -1 read `error`; the script itself may have run. */
  'run-result': {
    reqid: string;
    script: string;
    host: string;
    exit: number;
    rtt: number;
    error: string | undefined;
  };
  /** An agent was pinged. @remarks With `error`, that says what is wrong between the two hosts. */
  ping: { reqid: string; host: string; status: string; rtt: number; error: string | undefined };
  /** An agent was asked for its scripts. @remarks With `error`, that says what is wrong between the two hosts. */
  discovery: { reqid: string; host: string; error: string | undefined };
}

export interface AgentEvents {
  /** The agent listens. @remarks Nothing. */
  serving: { bind: string; port: number; scripts: number };
  /** The agent has stopped listening. @remarks If nobody stopped it, see why its service manager did. */
  stopped: { port: number };
  /** Something in a configuration file is not right, but not fatal. @remarks `reason` names file and line; mend it and send SIGHUP. */
  warning: { reason: string };
  /** Configuration, allowlist, trust and certificates were read anew. @remarks Nothing. */
  reloaded: { scripts: number };
  /** A reload was refused; everything stays as it was. @remarks Mend what `reason` names and send SIGHUP again. */
  'reload-failed': { reason: string };
  /** This host was paired. @remarks If nobody here asked for it, somebody else has root here. */
  paired: { host: string; dispatcher: string; serial: string };
  /** The dispatcher could not be told that the certificate is installed. @remarks Nothing: its first connection tells it, too. */
  'pairing-report-failed': { dispatcher: string; request: string; attempt: number; reason: string };
  /** A connection was refused before any request. @remarks One is noise; a dispatcher here has a wrong or expired certificate. */
  'connection-refused': { ip: string; reason: string };
  /** A request came with a certificate of the CA that is not trusted, or revoked. @remarks Pair with that dispatcher, or find out who it is. */
  'request-refused': {
    ip: string;
    path: string;
    serial: string;
    name: string | undefined;
    reason: string;
  };
  /** A run was asked for and not begun. @remarks `reason` says which check refused it. */
  'run-refused': {
    script: string | undefined;
    reqid: string | undefined;
    dispatcher: string;
    ip: string;
    reason: string;
  };
  /** A script was started. @remarks Nothing; REQID is the dispatcher's. */
  'run-start': {
    script: string;
    reqid: string | undefined;
    dispatcher: string;
    ip: string;
    username: string | undefined;
  };
  /** A script has ended. @remarks With `error`, it did not end by itself or could not be started. */
  'run-end': {
    script: string;
    reqid: string | undefined;
    dispatcher: string;
    ip: string;
    exit: number;
    ms: number;
    error: string | undefined;
  };
  /** A ping was answered. @remarks Nothing. */
  'ping-answered': { reqid: string | undefined; dispatcher: string; ip: string };
  /** A dispatcher was told the scripts and tags. @remarks Nothing. */
  'capabilities-answered': { dispatcher: string; ip: string };
}

export interface SharedEvents {
  /** A bug: something threw. @remarks Report it with this line. The request was answered with an error, the process goes on. */
  'internal-error': { reason: string };
  /** The log could not be written where `event_log` says. @remarks `reason` names what failed; until it works again, lines are on standard error. */
  'event-log-failed': { reason: string };
  /** Lines were lost, as many as `count`, because the log did not take them in time. @remarks See what slows syslog down. */
  'events-dropped': { count: number };
}

type Events = DispatcherEvents & AgentEvents & SharedEvents;

/** How urgent an event is; it follows from what happened, not from its name alone. */
export type EventLevel = 'info' | 'warning' | 'error';

/** One event. `level` is `info` where it is not said. */
export type LogEvent = {
  [A in keyof Events]: {
    readonly action: A;
    readonly level?: EventLevel;
    readonly fields: Readonly<Events[A]>;
  };
}[keyof Events];

/** An event as it is rendered: whatever its name and fields are. */
export interface EventRecord {
  readonly action: string;
  readonly level?: EventLevel;
  readonly fields?: Readonly<Record<string, string | number | boolean | undefined>>;
}
