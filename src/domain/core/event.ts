/**
 * Everything that is worth a line in the log, by its name. The comment of each event says what happened; its `@remarks`
 * say what to do about it, and `docs/events.md` is made from both. Fields are what the event is about; never a token, a
 * key, an argument or what a script printed. Times are milliseconds, serials canonical hex.
 */
interface DispatcherEvents {
  /** The private CA was created. @remarks Note the fingerprint: `request-pairing --ca-sha256` takes it. */
  'ca-created': { serial: string; fingerprint: string };
  /** The dispatcher got a key and a certificate of its own. @remarks If nobody ran `setup-ctrl-exec`, somebody else is root here. */
  'identity-created': { dispatcher: string; serial: string };
  /** The pairing port is open; `version` says so where version 1 is served, too. @remarks Close it when the agents are paired: it is the one port that listens to strangers. */
  'pairing-mode': { bind: string; port: number; version: string | undefined };
  /** Three requests were refused because the codes differed. Pairing mode takes no further requests that people compare; join tokens go on. @remarks Somebody tries to get between the hosts. Find out who before you start pairing mode again. */
  'pairing-codes-closed': { reason: string };
  /** Within an hour so many requests showed a code and were given up: nobody approved or denied them. At most once an hour; `ip` is the last of them. @remarks Somebody may be trying codes. See `list-requests --given-up`, and approve only what shows the same request id and code. */
  'pairing-given-up': { requests: number; ip: string };
  /** The pairing port is closed: an operator closed it, or its time was up. @remarks If nobody did, see why its process was stopped. */
  'pairing-mode-closed': { bind: string; port: number };
  /** An agent began to pair; its code is shown a moment later. @remarks Compare the codes, then `approve` or `deny`. Where `version` is v1 the same code proves nothing: whoever is between the hosts can forge it. */
  'pairing-requested': { request: string; host: string; ip: string; version?: string | undefined };
  /** The pairing port refused a connection (no `step`) or a message. @remarks One is noise, many from one address are an attempt: close the port or block the address. At level error this host is at fault: mend what `reason` names. */
  'pairing-refused': { ip: string; step?: string | undefined; reason: string; more?: number | undefined };
  /** An operator, not a join token, approved a request. @remarks Nothing: the agent fetches its certificate once its side has confirmed, too. */
  'pairing-approved': { request: string; host: string; ip: string };
  /** An operator denied a request, or gave a code that is not the one of the request. @remarks If the codes differ, look for who is between the two hosts. */
  'pairing-denied': { request: string; host: string; ip: string; reason: string };
  /** A certificate was issued to an agent. @remarks Expect `agent-paired` next, or by version 1 the first contact. Without it nothing is pinned for good: the enrolment lapses after a day. */
  'pairing-issued': { request: string; host: string; serial: string; ip: string };
  /** An agent has installed its certificate and may be called. @remarks Nothing. */
  'agent-paired': { request: string; host: string; ip: string };
  /** A join token was issued; `token` is its public id, `ttl` the seconds that it holds. @remarks If nobody ran `join-token`, somebody else is root here. */
  'join-token-issued': { host: string; token: string; ttl: number };
  /** A join token was revoked, or could not be shown and was taken back; `token` is its public id. @remarks Issue another one where a host still needs it. */
  'join-token-withdrawn': { token: string };
  /** Whoever holds a join token used it for another key than the one that it is bound to. It was refused. @remarks The token has leaked: find out how, and see which of the two is the host that you know. */
  'join-token-misused': { host: string; token: string; ip: string };
  /** An operator changed where an agent is reached, or its name (`from` is the old one). @remarks Nothing. */
  'agent-edited': {
    host: string;
    from: string | undefined;
    hostname: string;
    ip: string;
    port: number;
    lookup: string;
  };
  /** An agent was removed from the registry; its key answers for nobody any more. @remarks If that host lives on, remove its trust in this dispatcher there, too. */
  unpaired: { host: string };
  /** The auth hook, or its absence, refused what was asked for; `request` is what that was: run, status, cancel, ping or discovery. @remarks `reason` is the exit code of the hook in words; the hook's own log says more. */
  denied: {
    request: string;
    script: string | undefined;
    hosts: string | undefined;
    username: string | undefined;
    ip: string;
    reason: string;
  };
  /** A script was sent to hosts. @remarks Nothing: a `run-result` for each host follows. */
  run: { reqid: string; script: string; hosts: string; username: string | undefined };
  /** How a run stands on a host when nobody waits for it any more; `exit` -1 means that there is no result, and `error` why. @remarks `state` says which: at `running` and `unknown` the script may go on, and `status` asks again; at `refused`, `denied`, `unreachable` and `skipped` it has not begun. */
  'run-result': {
    reqid: string;
    script: string;
    host: string;
    state: string;
    exit: number;
    rtt: number;
    error: string | undefined;
  };
  /** A request came again under the idempotency key of a run, and was given the answer of that instead of being run. @remarks Nothing. Many are a client that gives up too early. */
  repeat: { reqid: string; script: string; username: string | undefined };
  /** A script was submitted to hosts, which run it by themselves. @remarks Nothing: a `submit-result` for each host follows. */
  submit: { reqid: string; script: string; hosts: string; username: string | undefined };
  /** What a host answered to a submission: accepted, busy or error. @remarks At `error` `state` says whether it was begun: at `unknown` it may have been, and `status` asks again. */
  'submit-result': {
    reqid: string;
    script: string;
    host: string;
    state: string;
    status: string;
    rtt: number;
    error: string | undefined;
  };
  /** The end of a run on a host was fetched from its agent: of an async run, or of one that was not waited for to the end. @remarks Nothing. */
  'run-ended': { reqid: string; script: string; host: string; state: string; exit: number };
  /** A person has given up the lock of a host: the script may be begun there again. @remarks See on the host whether the script still runs. */
  'lock-released': { reqid: string; script: string; host: string };
  /** A run is to be stopped on hosts. @remarks Nothing: a `cancel-result` for each host follows. */
  cancel: { reqid: string; script: string; hosts: string; username: string | undefined };
  /** What an agent answered to that: cancelling, done, unknown or error. @remarks At `error` the script may still run there. */
  'cancel-result': { reqid: string; host: string; status: string; error: string | undefined };
  /** An agent's answer came without a signature, or with one that does not hold; nothing of it was used. @remarks The agent is of an older version, or something between the two hosts alters what it says: find out which. A run may have taken place all the same. */
  'result-unverified': { host: string; path: string; status: number; reason: string };
  /** An agent that was taken over from another installation was seen for the first time, and its key is pinned from now on. `found` is who its certificate names. @remarks If nobody moved that host or ran `edit-agent --pin`, look at `found`. */
  'agent-pinned': { host: string; serial: string; found: string };
  /** An agent has signed an answer for the first time: unsigned ones are not accepted of it any more. @remarks Nothing. If the host goes back to a legacy agent, run `edit-agent NAME --legacy`. */
  'signature-required': { host: string };
  /** An agent could not be told everything that it has missed: a serial, a CA or a revocation list. It was asked all the same. @remarks Nothing: it is told at the next contact. If it lasts, `reason` says what is wrong. */
  'update-pending': { host: string; reason: string };
  /** An agent has a new certificate. @remarks Nothing. */
  'agent-renewed': { host: string; serial: string; until: string };
  /** The certificate of an agent could not be renewed; it goes on with the one that it has. @remarks Nothing yet: maintenance tries again. Once it has expired, `ctrl-exec readmit` brings the agent back. */
  'renewal-failed': { host: string; reason: string };
  /** The next certificate of this dispatcher was made, and agents are told of it. @remarks Nothing. */
  'rotation-announced': { serial: string; next: string };
  /** This dispatcher uses its next certificate; `pending` agents have yet to be told. @remarks Nothing: they are told at the next contact. */
  'rotation-switched': { serial: string; was: string; pending: number };
  /** The switch to the next certificate waits, because agents that can be reached refused it. @remarks See why with `ctrl-exec serial-status` and in the log of those agents. */
  'rotation-waits': { next: string; refused: number };
  /** The certificate before the present one was given up; `stale` agents never learnt of the present one. @remarks Nothing: they follow when they come back. */
  'rotation-retired': { serial: string; stale: number };
  /** Certificates were revoked, and no agent that holds revocation list `number` accepts them. @remarks Nothing: agents that cannot be reached get the list at the next contact. */
  revoked: { serials: string; host: string | undefined; number: number };
  /** An agent held a revocation list of this dispatcher with more on it, or with a higher number: this state was restored from a backup. What is on it was taken over; `added` entries were not known here. @remarks Nothing: the next list has all of it. If no backup was restored, find out who else uses the CA and the id of this dispatcher. */
  'revocations-merged': { host: string; held: number; added: number; number: number };
  /** Agents have not acknowledged the newest revocation list: they may accept what was revoked. `hosts` names ten of them. @remarks See that these hosts can be reached: the list is offered at every contact, and once a minute while the API runs. `ctrl-exec serial-status` shows who is left. */
  'revocations-pending': { agents: number; hosts: string; number: number };
  /** The ban of a key was lifted: it may be paired again. Certificates that were revoked stay so. @remarks Nothing. */
  'key-unbanned': { key: string; name: string };
  /** An agent goes on trusting a former serial of this dispatcher, because it did not accept the proof that the present one follows it. @remarks Nothing while nobody else has its key. Otherwise revoke the serial. */
  'serial-kept': { host: string; serial: string; reason: string };
  /** A further CA was made; agents are told of it, then certificates are issued by it. @remarks Run `ctrl-exec maintain` regularly until `ca-retired`. */
  'ca-succeeded': { serial: string; fingerprint: string };
  /** The CA before the present one is not accepted any more. @remarks Nothing. */
  'ca-retired': { serial: string };
  /** A maintenance pass has ended. @remarks If `failed` stays above 0, the lines before it say which agents and why. */
  maintained: { renewed: number; failed: number; pending: number; stale: number };
  /** The store could not take what happened; results were given out all the same. @remarks Look at the disk of the state directory. */
  'record-failed': { reqid: string | undefined; reason: string };
  /** An agent was pinged. @remarks With `error`, that says what is wrong between the two hosts. */
  ping: { reqid: string; host: string; status: string; rtt: number; error: string | undefined };
  /** An agent was asked for its scripts and tags. @remarks With `error`, that says what is wrong between the two hosts. */
  discovery: { reqid: string; host: string; error: string | undefined };
}

/** Of the HTTP API's process. */
interface ApiEvents {
  /** The HTTP API listens on `address`: a URL, or `unix:` and the path of its socket. @remarks Nothing. */
  'api-start': { address: string };
  /** The HTTP API has stopped listening, and what ran has ended or its time was up. @remarks If nobody stopped it, see why its service manager did. */
  'api-stop': { address: string };
  /** The HTTP API was asked to read its configuration again. With `reason` that cannot be used, and everything stays as it was. @remarks Mend what `reason` names and send SIGHUP again. */
  'api-reload': { reason: string | undefined };
  /** A request to the HTTP API was answered with `status` after `ms` milliseconds, or its client went away before that (`status` 499). `path` is the route, not what was sent; `-`: there is none, or it was refused before. `reason`: what failed on this host, where the client was told less. `api_request` is the `X-Request-Id` of the answer, and stands in every other line of the same request, too. @remarks Many of 401, 403 or 429 from one address are an attempt. */
  'api-request': {
    method: string;
    path: string;
    status: number;
    ms: number;
    api_request: string;
    ip: string;
    username: string | undefined;
    reason: string | undefined;
  };
  /** Maintenance by the HTTP API, or its look at how runs ended, could not be done. @remarks It is tried again soon; mend what `reason` names. */
  'maintenance-failed': { reason: string };
}

interface AgentEvents {
  /** The agent listens; `scripts` is the number of scripts that it may run. @remarks Nothing. */
  serving: { bind: string; port: number; scripts: number };
  /** The agent has stopped listening, and what ran has ended or its time was up. @remarks If nobody stopped it, see why its service manager did. */
  stopped: { port: number };
  /** Configuration, allowlist, trust, revocations and certificates were read anew and hold from now on. @remarks Nothing. */
  reloaded: { scripts: number };
  /** A reload was refused; everything stays as it was, but serials that a damaged file of revoked serials names are refused. @remarks Mend what `reason` names and send SIGHUP again. */
  'reload-failed': { reason: string };
  /** This host was paired: key, certificate, CA and trust are installed. `version` says so where it was by version 1. @remarks If nobody here asked for it, somebody else is root here. */
  paired: { host: string; dispatcher: string; serial: string; version?: string | undefined };
  /** The dispatcher could not be told that the certificate is installed. @remarks Nothing: its first connection to this host tells it, too. */
  'pairing-report-failed': { dispatcher: string; request: string; attempt: number; reason: string };
  /** A request came with a good certificate of the CA that is not trusted here, or is revoked. Nothing of it was read. @remarks Pair with that dispatcher, or find out who has its key. */
  'request-refused': {
    ip: string;
    path: string;
    serial: string;
    name: string | undefined;
    reason: string;
  };
  /** A request came from a trusted dispatcher, but its signature does not hold; nothing of it was read, queued or run. @remarks `refused` is what the caller was told, `reason` why. `signature required`: the caller is an older version, or not what it seems. `signature expired`: compare the clocks. `replayed`: a copy of a request that was here before; find out who can read between the two hosts. */
  'request-unverified': { ip: string; path: string; dispatcher: string; refused: string; reason: string };
  /** A run was asked for a second time under the same request id, and not run again: the answer of before was given, or that it still runs; or (`state` void) it came after its dispatcher had settled that it was not begun. @remarks One is a repetition by the network or a person. Many are a dispatcher that reuses its ids. */
  'run-repeated': { script: string; reqid: string; dispatcher: string; ip: string; state: string };
  /** A dispatcher announced its next certificate, which is trusted from now on; serial `by` asked for it. @remarks Nothing. */
  'serial-trusted': { dispatcher: string; serial: string; by: string; ip: string };
  /** Another dispatcher (`claimed`) had claimed this serial without a certificate, and the dispatcher whose certificate it is has proved that now. The claim is gone. @remarks Somebody has the key of `claimed`, or made a mistake there. If you did not: find out which of its serials brought the claim (`serial-trusted` in this log), and revoke that. */
  'serial-claim-replaced': { dispatcher: string; serial: string; claimed: string; ip: string };
  /** A dispatcher came with a certificate that was not known here, and proved by a chain of `steps` that it follows one that was trusted. @remarks Nothing: this host was away while the dispatcher changed its key. */
  'succession-accepted': { dispatcher: string; serial: string; steps: number; ip: string };
  /** A dispatcher wanted to follow a trusted one without proof. @remarks Find out who has a certificate of the CA. */
  'succession-refused': { serial: string; ip: string; reason: string };
  /** A dispatcher's former certificate is not trusted any more; serial `by`, which replaces it, asked for that. @remarks Nothing. */
  'serial-retired': { dispatcher: string; serial: string; by: string; ip: string };
  /** This host has a new certificate, in force at once. @remarks Nothing. */
  'certificate-renewed': { dispatcher: string; serial: string; was: string; until: string };
  /** A renewal, a revocation list or a set of CAs from a dispatcher was not taken. @remarks `reason` says what was wrong with it; the dispatcher tries again at its next maintenance. */
  'update-refused': { dispatcher: string; ip: string; path: string; reason: string };
  /** A revocation list was taken; `revoked` certificates are on it. @remarks Nothing. */
  'revocations-updated': { dispatcher: string; number: number; revoked: number };
  /** The agent was started with a file of revoked serials that has a line which is not understood, or cannot be read. Its other lines hold, and what it said before. @remarks Mend what `reason` names and send SIGHUP: until then every reload fails. */
  'revoked-serials-damaged': { reason: string };
  /** The set of CAs that dispatchers' certificates must be of was replaced. @remarks Nothing, if the CA is being replaced. */
  'cas-updated': { dispatcher: string; count: number };
  /** The agent was started after a reboot, or its record of requests was lost: for `seconds` requests that change something are refused, because it cannot tell which of them it has seen. @remarks Nothing after a reboot. If there was none, see who removed the record in the state directory. */
  'replay-record-lost': { seconds: number };
  /** A run was asked for and not begun. @remarks `reason` says what was against it: the allowlist, the auth hook, the form of the request, or too many runs at a time. */
  'run-refused': {
    script: string | undefined;
    reqid: string | undefined;
    dispatcher: string;
    ip: string;
    reason: string;
  };
  /** A script is started. @remarks Nothing: `run-end` follows. */
  'run-start': {
    script: string;
    reqid: string | undefined;
    dispatcher: string;
    ip: string;
    username: string | undefined;
  };
  /** A script has ended after `ms` milliseconds. @remarks With `error` it was killed, or could not be started. */
  'run-end': {
    script: string;
    reqid: string | undefined;
    dispatcher: string;
    ip: string;
    exit: number;
    ms: number;
    error: string | undefined;
  };
  /** An action (a function of the agent's process) threw, or returned what is no result. `reason` names the error's class and the place in the code; its message is output, and in the result. @remarks Mend the action. */
  'action-failed': { script: string; reqid: string; dispatcher: string; reason: string };
  /** An action was told to end and goes on: nothing can kill a function. Its run was answered for as if it had been; its place is taken until it ends. @remarks Mend the action: it must heed its `signal`. Until then only a restart of its process ends it. */
  'action-goes-on': { script: string; reqid: string; dispatcher: string; reason: string };
  /** An async run was begun: it outlives the connection and, unless it is an action, the agent. @remarks Nothing: `job-end` follows, if the agent lives then. */
  'run-accepted': {
    script: string;
    reqid: string;
    dispatcher: string;
    ip: string;
    username: string | undefined;
  };
  /** An async run has ended after `ms` milliseconds; `status` is done, cancelled or lost. @remarks With `error` it was killed, cancelled or lost, or could not be started. At `lost` nobody knows how it ended: `error` says why, and whether something of it may still run. */
  'job-end': {
    script: string;
    reqid: string;
    dispatcher: string;
    status: string;
    exit: number;
    ms: number;
    error: string | undefined;
  };
  /** The dispatcher that followed a run went away, or took its output too slowly. The run goes on, and its result is kept. @remarks Nothing: `ctrl-exec status` fetches the result. */
  'run-unfollowed': { script: string; reqid: string | undefined; dispatcher: string; ip: string };
  /** A dispatcher asked what became of a run of its own. @remarks Nothing. */
  'result-given': { reqid: string; script: string; dispatcher: string; ip: string; status: string };
  /** A dispatcher asked to stop a run; `status` is cancelling, done (it had ended) or unknown. @remarks Nothing: the end of the run follows. */
  'cancel-asked': { reqid: string; dispatcher: string; ip: string; status: string };
  /** A dispatcher asked how a run of its own ended; `status` is that of the run, `void` (it was not begun and never will be) or unknown. @remarks Nothing. */
  'settle-answered': { reqid: string; dispatcher: string; ip: string; status: string };
  /** A ping was answered. @remarks Nothing. */
  'ping-answered': { reqid: string | undefined; dispatcher: string; ip: string };
  /** A dispatcher was told the scripts and tags. @remarks Nothing. */
  'capabilities-answered': { dispatcher: string; ip: string };
}

interface PullEvents {
  /** The pull agent works for a control plane; `discovery` are the directories in which it looks for certificates. @remarks Nothing. */
  'pull-started': {
    server: string;
    agent: string;
    name: string;
    keys: string;
    discovery: string | undefined;
  };
  /** The pull agent has ended, and what it was doing with it. @remarks If nobody stopped it, see why its service manager did. */
  'pull-stopped': { agent: string };
  /** The certificate of the control plane is not verified: whoever is between the two hosts reads the API key and decides what is deployed. @remarks Take `--insecure-skip-verify` away, and name the CA with `--ca-bundle`. */
  'pull-insecure': { server: string };
  /** The key directory was open to others (`was` is its mode) and is closed now. @remarks Find out who could read the keys, and renew the certificates over them. */
  'key-directory-closed': { path: string; was: string };
  /** What an earlier process of the agent had left half done was finished or undone. @remarks See whether that target serves the certificate that it should. */
  'deployment-recovered': { what: string };
  /** What an earlier process of the agent had left half done could not be finished or undone. @remarks `reason` says what is in the way: mend it and start the agent again. */
  'recovery-failed': { reason: string };
  /** A heartbeat was taken. Logged at level debug only. @remarks Nothing. */
  'heartbeat-sent': { agent: string };
  /** The control plane has `jobs` jobs for this agent. Logged at level debug only. @remarks Nothing. */
  'work-polled': { jobs: number };
  /** A heartbeat came to nothing; so many calls in succession as `failures` says. @remarks Nothing yet. If it lasts, `reason` says what is wrong between the two hosts. */
  'heartbeat-failed': { reason: string; failures: number };
  /** A poll came to nothing; the next one waits `backoff` seconds longer. @remarks Nothing yet. If it lasts, `reason` says what is wrong between the two hosts. */
  'poll-failed': { reason: string; failures: number; backoff: number };
  /** The control plane answers again, after so many calls without an answer. @remarks Nothing. */
  'control-plane-back': { failures: number };
  /** The control plane has retired this agent: it answered a heartbeat or a poll (`source`) with 410 Gone. What runs is finished, and the agent ends with exit code 0. @remarks If that host is to live on, register a new agent for it. */
  'agent-retired': { source: string; status: number; body: string };
  /** One answer of the control plane had more entries than are looked at (`taken`): so many as `left` says come with the next ones. Said once. @remarks Find out why there are so many jobs for one host. */
  'jobs-left': { taken: number; left: number };
  /** A job that this agent does not do, or cannot even report on. @remarks See what the control plane wants of this agent; it may be of a later version. */
  'job-ignored': { job: string; reason: string };
  /** A certificate was asked for; `key` is new, or kept because a certificate over it may still come. @remarks Nothing: its deployment follows once the control plane has issued it. */
  'csr-submitted': { job: string; certificate: string; key: string };
  /** A deployment begins. @remarks Nothing: `certificate-deployed` or `job-failed` follows. */
  'deployment-started': { job: string; certificate: string; target: string | undefined; type: string };
  /** A certificate is deployed; `changed` no: everything was in place already. `verified` says what a TLS handshake with the target showed. @remarks Nothing. */
  'certificate-deployed': {
    job: string;
    certificate: string;
    target: string | undefined;
    type: string;
    changed: string;
    verified: string | undefined;
  };
  /** A deployment succeeded, with something to look after. @remarks See what `reason` names. */
  'deployment-warning': { job: string; reason: string };
  /** A TLS handshake with a target did not show the certificate that was deployed. `reason` has the details; the control plane is told one word. @remarks See whether the service reads the files that were written, and listens at `endpoint`. */
  'verification-failed': { job: string; target: string | undefined; endpoint: string; reason: string };
  /** A job failed, and the control plane is told so with the same `reason`; it begins with the step that failed. @remarks Mend what `reason` names; the control plane decides when it is tried again. */
  'job-failed': { job: string; certificate: string | undefined; reason: string };
  /** The control plane could not be told how a job stands. @remarks The job itself is not affected. If the control plane goes on offering it, see what `reason` says. */
  'job-report-failed': { job: string; status: string; reason: string };
  /** The directories were looked through: so many certificates were found, and so much could not be read. @remarks With `errors` above 0 the report at the control plane names them. */
  'discovery-scanned': { certificates: number; errors: number; ms: number };
  /** What was found could not be reported; it is tried again with the next scan. @remarks If it lasts, `reason` says what is wrong. */
  'discovery-report-failed': { reason: string };
}

interface SharedEvents {
  /** Something in a file is not right, but not fatal; said at the start and at each reload. @remarks `reason` names the file and mostly the line: mend it and send SIGHUP. */
  warning: { reason: string };
  /** A connection was refused before any request: its address is not allowed, there are too many, or (at an agent) the certificate is none of the CA, of the wrong kind or out of date. @remarks One is noise. If a dispatcher should get through, `reason` says what is wrong with it. */
  'connection-refused': { ip: string; reason: string; more: number | undefined };
  /** More connections of one source (an IPv4 address, an IPv6 /64) came to nothing than a limit allows: `rate_limit_volume`, or `rate_limit_probe` for failed handshakes; or it made more requests to the HTTP API than `api_rate_limit` allows. For `seconds` its connections are closed at once, or its requests refused (`effect` blocked), or, where a trusted dispatcher came from within a day, wait (`slowed`). @remarks Find out what runs there. If it should get through, mend what the `connection-refused` before it names; a reload with `rate_limit_disable` lets it in at once. */
  'source-limited': {
    source: string;
    limit: string;
    effect: string;
    seconds: number;
    more: number | undefined;
  };
  /** A source may connect again; its block met so many connections as `met` says. @remarks Nothing. */
  'source-released': { source: string; limit: string; met: number; more: number | undefined };
  /** What another installation had in the directory `from` was taken over: identity and trust, on a dispatcher also `agents` that are new to its registry. @remarks If nobody ran `import-state`, somebody else is root here. */
  'state-imported': { from: string; serial: string | undefined; agents: number | undefined };
  /** A bug: something threw. The request was answered with an error, the process goes on. @remarks Report it with this line. */
  'internal-error': { reason: string };
  /** The log could not be written where `event_log` says. Lines go to standard error until it works again. @remarks Mend what `reason` names. */
  'event-log-failed': { reason: string };
  /** So many lines as `count` says are missing before this one: syslog did not take them in time. @remarks See what slows it down. */
  'events-dropped': { count: number };
}

type Events = DispatcherEvents & ApiEvents & AgentEvents & PullEvents & SharedEvents;

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
